"""Admission: how many bodies are worked on at a time, and how many bytes of bodies are in memory.

A request that finds no place is refused at once, if it can be before its body is read. So those that were admitted are
not much slower than they would be alone, and a client that comes again later is served. A body takes its place only
when it has arrived, so that clients that send slowly keep no place; what they have sent counts as bytes.
"""

from dataclasses import dataclass

from app.errors import Busy


@dataclass(slots=True)
class Admission:
    """The bodies and bytes that are in the service now, and the greatest numbers of them."""

    most_bodies: int
    most_bytes: int
    bodies: int = 0
    streams: int = 0
    size: int = 0

    def enter(self, length: int) -> "Admitted":
        """A place for a request whose body has so many bytes, as far as it says. Raises `Busy` if there is none."""
        place = Admitted(self)
        if length:
            place.check(length)
            self.check_bodies()
        return place

    def check_bodies(self) -> None:
        """Raise `Busy` if no further body can be worked on."""
        if self.bodies >= self.most_bodies:
            raise _busy("Too many requests with a body are served at this moment.")


@dataclass(slots=True)
class Admitted:
    """The place of one admitted request, which leaves it at its end."""

    admission: Admission
    _size: int = 0
    _works: bool = False
    _streams: bool = False

    def check(self, length: int) -> None:
        """Raise `Busy` if there is no room for so many bytes beside those of others. One body alone has room."""
        if self.admission.size and self.admission.size + length > self.admission.most_bytes:
            raise _busy("Too many bytes are received at this moment.")

    def arrive(self, size: int, *, complete: bool) -> None:
        """Hold bytes that have arrived, and begin to work when the body is complete. Raises `Busy`."""
        if self._streams:
            return
        if size and self.admission.size > self._size:
            self.check(size)
        self.admission.size += size
        self._size += size
        if complete and self._size and not self._works:
            self.admission.check_bodies()
            self.admission.bodies += 1
            self._works = True

    def stream(self) -> None:
        """The body is stored while it arrives, and not held. Raises `Busy` if that happens too often already."""
        if self.admission.streams >= self.admission.most_bodies:
            raise _busy("Too many bodies of lines are received at this moment.")
        self.admission.streams += 1
        self._streams = True

    def leave(self) -> None:
        """The request was answered."""
        self.admission.size -= self._size
        self.admission.bodies -= self._works
        self.admission.streams -= self._streams
        self._size, self._works, self._streams = 0, False, False


def _busy(why: str) -> Busy:
    return Busy(why, headers={"Connection": "close"})
