"""The log of the service: one line an event, and nothing of a patient in it."""

import logging
import sys
import traceback


def log_to_stdout() -> None:
    """Write the log lines of the service to the standard output, one line an event."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("time=%(asctime)s level=%(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    log = logging.getLogger("myoresponse")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def places(error: BaseException) -> str:
    """Where an exception came from, innermost first, without any text that could hold data."""
    frames = traceback.extract_tb(error.__traceback__)
    return "<".join(f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in reversed(frames))
