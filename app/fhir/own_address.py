"""The address of a study's facade, as clients write it: in a reference, and in the request of an entry."""

import re
from dataclasses import dataclass

_ABSOLUTE = re.compile(r"(https?)://([^/?#]+)([^?#]*)(.*)", re.IGNORECASE)
_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """Where the facade of `study` is. `authority` is the host and port that the request names, `prefix` the path that
    a proxy removes. `names` are the names by which the service is declared to be reached, with any port.
    """

    study: str = ""
    prefix: str = ""
    authority: str = ""
    names: frozenset[str] = frozenset()

    def inside(self, text: str) -> str | None:
        """What follows the address of this facade; the text itself if it has no address, without a first slash; `None`
        if it is an address of another server, or of another study.
        """
        absolute = _ABSOLUTE.fullmatch(text)
        if absolute is None:
            return _after(self._home, text) or text.removeprefix("/")
        scheme, authority, path, rest = absolute.groups()
        found = _after(self._home, path) if self._is_ours(scheme.lower(), authority.lower()) else None
        return None if found is None else found + rest

    @property
    def _home(self) -> str:
        return f"{self.prefix}/fhir/{self.study}/"

    def _is_ours(self, scheme: str, authority: str) -> bool:
        usual = _PORTS[scheme]
        if authority.removesuffix(usual) == self.authority.lower().removesuffix(usual):
            return True
        return re.sub(r":\d*$", "", authority) in self.names


NOWHERE = OwnAddress()
"""The address of content that was not sent to a facade, such as a file: no address of a server is ours."""


def _after(home: str, path: str) -> str | None:
    """What follows `home` in a path."""
    return path[len(home) :] if path.startswith(home) else None
