"""Bytes that wait between one who makes them and one who sends them: in memory, and many of them on the disk."""

import shutil
import tempfile
import threading

IN_MEMORY = 1_000_000
"""Most bytes that wait in memory; more wait on the disk, in a file without a name."""
PART_BYTES = 65_536


def _new_file() -> tempfile.SpooledTemporaryFile[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)


class Spool:
    """A buffer of bytes between a task that writes and a task that reads. It is full with `most` bytes; it keeps more
    if they are written at once. `taken` counts all bytes that were read.
    """

    def __init__(self, most: int) -> None:
        self._file = _new_file()
        self._lock = threading.Lock()
        self._most = most
        self._read = self._written = self.taken = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing should be added."""
        return self.waiting >= self._most

    @property
    def waiting(self) -> int:
        """The bytes that were not read."""
        return self._written - self._read

    def write(self, content: bytes) -> None:
        """Add bytes."""
        with self._lock:
            self._file.seek(self._written)
            self._file.write(content)
            self._written += len(content)

    def read(self, most: int = PART_BYTES) -> bytes:
        """The next bytes, at most so many; empty if all were read."""
        with self._lock:
            if self._read == self._written or self._read > self._most:
                self._forget()
            self._file.seek(self._read)
            part = self._file.read(min(most, self._written - self._read))
            self._read += len(part)
            self.taken += len(part)
            return part

    def _forget(self) -> None:
        """Give back the space of what was read."""
        old, self._file = self._file, _new_file()
        old.seek(self._read)
        shutil.copyfileobj(old, self._file, PART_BYTES)
        old.close()
        self._read, self._written = 0, self._written - self._read

    def close(self) -> None:
        """Delete the content."""
        with self._lock:
            self._file.close()
