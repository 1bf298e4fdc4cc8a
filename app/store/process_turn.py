"""The processes that write to one SQLite file take turns.

SQLite lets one of them write. One that waits looks again after a while, up to 0.1 s later, and a process that writes
all the time is there before it. Here the system wakes the next one at once. This only brings them into an order:
whether a process may write is decided by the lock of SQLite, which it takes after that, and also without its turn.

The turn is a lock of the directory of the file, so that it needs no file, and ends with the process that has it.
"""

import errno
import fcntl
import logging
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 1.0
"""After this time a process tries to write without its turn."""
log = logging.getLogger("myoresponse")


class ProcessTurn:
    """The turn of this process among those that write to files of a directory. One thread at a time may use it."""

    def __init__(self, directory: Path) -> None:
        self._guard = threading.Lock()
        self._came: threading.Event | None = None
        self._wanted = False
        self._held = False
        self._ordered = False
        """Without order, nobody waits: the directory cannot be opened, or its file system has no such locks."""
        try:
            self._directory = os.open(directory, os.O_RDONLY)
            self._shut = weakref.finalize(self, os.close, self._directory)
            fcntl.flock(self._directory, fcntl.LOCK_UN)
            self._ordered = True
        except FileNotFoundError:
            pass  # then there is no file either, and opening it fails
        except OSError as error:
            log.warning("event=turn status=none cause=%s", errno.errorcode.get(error.errno or 0, "-"))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Run the block when it is the turn of this process, or after `PATIENCE_SECONDS`."""
        mine = self._take()
        try:
            yield
        finally:
            if mine:
                self._give()

    def close(self) -> None:
        """Take no turn any more. The directory is closed when none is held, and no thread waits for one."""
        with self._guard:
            if self._ordered:
                self._ordered = False
                self._shut_unused()

    def _take(self) -> bool:
        """Whether the turn came. A thread waits for it, because nothing else could end such a wait."""
        with self._guard:
            if not self._ordered:
                return False
            if self._came is None:
                if self._is_free():
                    self._held = True
                    return True
                threading.Thread(target=self._await_turn, name="turn", daemon=True).start()
                self._came = threading.Event()
            came, self._wanted = self._came, True
        came.wait(PATIENCE_SECONDS)
        with self._guard:
            self._wanted = False
            return came.is_set()

    def _give(self) -> None:
        with self._guard:
            fcntl.flock(self._directory, fcntl.LOCK_UN)
            self._held = False
            self._shut_unused()

    def _await_turn(self) -> None:
        fcntl.flock(self._directory, fcntl.LOCK_EX)
        with self._guard:
            came, self._came = self._came, None
            if self._wanted and came is not None:
                self._held = True
                came.set()
            else:  # nobody waits for it any more
                fcntl.flock(self._directory, fcntl.LOCK_UN)
                self._shut_unused()

    def _is_free(self) -> bool:
        """Lock the directory, if no other process has locked it. Whether it is locked by this one now."""
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _shut_unused(self) -> None:
        if not self._ordered and not self._held and self._came is None:
            self._shut()
