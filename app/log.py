"""The log of the service: one line for each event, without patients' data."""

import logging
import sys
import traceback


def log_to_stdout() -> None:
    """Write the log of the service to the standard output, one line for each event."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("time=%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log = logging.getLogger("myoresponse")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def places(error: BaseException) -> str:
    """The files and lines of an exception, innermost first, without its message, which may contain data."""
    frames = traceback.extract_tb(error.__traceback__)
    return "<".join(f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in reversed(frames))
