"""How a command ends before its end: because a file, a disk or a pipe fails, or because of a signal."""

import errno
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

import typer
from typer.core import TyperGroup

FILE_FAILED = 4
"""The exit code where a file, a disk or a pipe failed on the way."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Commands(TyperGroup):
    """The commands. One whose files fail ends with one line, and none leaves a copy of its memory on the disk."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as typer has it
        """Run the command that is asked for."""
        _keep_no_core()
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if error.filename is None and error.errno not in _OF_OUTPUT:
                raise
            if error.filename is None:  # what the output could not take is not tried again at the end of the process
                with suppress(ValueError, OSError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            typer.echo(f"{error.filename or 'The output'}: {reason_of(error)}.", err=True)
            raise typer.Exit(FILE_FAILED) from None


def reason_of(error: OSError) -> str:
    """What the system says about a file, without its name."""
    return (error.strerror or "it cannot be used").lower().replace("i/o", "I/O").replace("input/output", "I/O")


def _keep_no_core() -> None:
    """Let the system write no copy of the memory, which has patients' data, if the process breaks off."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


class Interruption:
    """Signals that ask a command to end, inside the block.

    The first one is noted in `asked`, so that what is being stored is counted first. The second one, or with `at_once`
    or while the command is `waiting` for a pipe the first, ends the block.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.asked: int | None = None
        self.at_once = at_once
        self.waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # such as SIGHUP under nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def code(self) -> int:
        """The exit code of a process that ends because of the signal."""
        return 128 + (self.asked or 0)

    def _note(self, number: int, _: FrameType | None) -> None:
        again, self.asked = self.asked is not None, number
        if again or self.at_once or self.waiting:
            # A connection that is being put back just now would be reported as an error, with a traceback.
            logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
            raise SystemExit(self.code)
