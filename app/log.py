"""The log of the service: one line for each event, without patients' data."""

import logging
import sys
import traceback
from collections import Counter


def log_to_stdout() -> None:
    """Write the log of the service to the standard output, one line for each event."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("time=%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log = logging.getLogger("myoresponse")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def switched(on: bool) -> str:
    """`on` or `off`."""
    return "on" if on else "off"


def counted(codes: Counter[str]) -> str:
    """Codes with their counts, the most frequent first: `unknown_unit:2,missing:1`."""
    return ",".join(f"{code}:{count}" for code, count in sorted(codes.items(), key=lambda each: (-each[1], each[0])))


def places(error: BaseException) -> str:
    """The files and lines of an exception, innermost first, without its message, which may contain data."""
    frames = traceback.extract_tb(error.__traceback__)
    return "<".join(f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in reversed(frames))
