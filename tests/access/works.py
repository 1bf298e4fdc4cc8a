"""Pieces of work for worker processes: slow ones, ones that fail, and ones that tell about the process."""

import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from app.access import study_answers
from app.access.work import AnswerOrigin, Workplace
from app.errors import NotFound
from app.store.snapshot import study_at


def spin(mark: str, place: Workplace) -> bytes:
    """Compute for a minute; the file `mark` exists from the beginning on."""
    del place
    Path(mark).write_text(str(os.getpid()))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        pass
    return b"too late"


def sleep(mark: str, place: Workplace) -> bytes:
    """Wait for a minute without computing."""
    del place
    Path(mark).write_text(str(os.getpid()))
    time.sleep(60)
    return b"too late"


def wait_for(mark: str, go_on: str, place: Workplace) -> bytes:
    """Wait until the file `go_on` exists."""
    del place
    Path(mark).write_text(str(os.getpid()))
    while not Path(go_on).exists():
        time.sleep(0.01)
    return b"done"


def pid(place: Workplace) -> bytes:
    """The number of the process."""
    del place
    return str(os.getpid()).encode()


def busy(place: Workplace) -> bytes:
    """Compute for less than half a second of processor; the number of the process."""
    until = time.process_time() + 0.4
    while time.process_time() < until:
        pass
    return pid(place)


def newest(study: str, mark: str, go_on: str, place: Workplace) -> Iterator[bytes]:
    """The state of a study; then, when the file `go_on` exists, how many patients it had in that state."""
    with study_at(place.database, study) as snapshot:
        yield AnswerOrigin(*snapshot.tag()).part()
        count = len(place.cohorts.cohort_of(snapshot))
    yield b"%d by " % count
    yield wait_for(mark, go_on, place)


def patients(study: str, place: Workplace) -> bytes:
    """How many patients a study has, how many cohorts are kept, and in which process."""
    with study_at(place.database, study) as snapshot:
        count = len(place.cohorts.cohort_of(snapshot))
    return f"{count} {len(place.cohorts)} {os.getpid()}".encode()


def modules(place: Workplace) -> bytes:
    """The modules that the process has loaded."""
    del place
    return " ".join(sys.modules).encode()


def threads(place: Workplace) -> bytes:
    """The number of threads of the process."""
    del place
    return str(len(os.listdir("/proc/self/task"))).encode()


def once(place: Workplace) -> bytes:
    """Other bytes each time that it is computed."""
    time.sleep(0.3)
    del place
    return uuid.uuid4().bytes


def missing(place: Workplace) -> bytes:
    """Refuse, as a study that does not exist is refused."""
    del place
    raise NotFound("There is no study of this name.")


def broken(place: Workplace) -> bytes:
    """Fail with a text that must not be written anywhere."""
    del place
    raise KeyError("SECRET-P01")


_answer = study_answers.answer_bytes


def answer_or_spin(*question: object) -> bytes:
    """As `answer_bytes`, but a question with the confidence level 0.77 takes a minute."""
    if question[1].level == 0.77:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pass
    return _answer(*question)
