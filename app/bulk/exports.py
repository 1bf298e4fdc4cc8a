"""A study is exported: one timeline a line, as `import` and the API read them."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from app.errors import Erased, NotFound
from app.store.engine import Database
from app.store.revisions import AsOf
from app.store.snapshot import StudyAt, study_at
from app.timeline.normalize import SECTIONS

PAGE = 100
"""Patients that are listed at a time; each is read by itself, so that one patient is held at most."""
MOST_FACTS = 20_000
"""Facts on one line; a patient with more has several lines, which a reader merges."""

Opened = Callable[[], AbstractContextManager[StudyAt]]
"""Opens the study at the revision that is exported."""


def export_study(database: Database, study: str) -> tuple[int, Iterator[bytes]]:
    """The latest revision of a study, and its timelines at it, line by line in order of the patients.

    A revision never changes, so that all lines are of one state however long it takes to take them; only a person who
    is erased meanwhile is left out. What has been withdrawn or superseded is not exported. Raises `NotFound`.
    """
    with study_at(database, study) as found:
        revision = found.revision
    return revision, _lines(partial(study_at, database, study, AsOf(revision), though_erased=True))


def _lines(opened: Opened) -> Iterator[bytes]:
    for patient in _patients(opened):
        try:
            with opened() as study:
                document = study.timeline(patient)
        except (Erased, NotFound):
            continue
        for part in _parts(document):
            yield json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _patients(opened: Opened) -> Iterator[str]:
    after: str | None = None
    while True:
        with opened() as study:
            page = study.patients(after=after, limit=PAGE)
        yield from (each.id for each in page)
        if len(page) < PAGE:
            return
        after = page[-1].id


def _parts(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document, in parts with the facts of one section each where it has very many."""
    facts = {section: document.pop(section) for section in SECTIONS.values()}
    if sum(map(len, facts.values())) <= MOST_FACTS:
        yield document | {section: found for section, found in facts.items() if found}
        return
    yield document
    who = {"patient": {"id": document["patient"]["id"]}}
    for section, found in facts.items():
        for first in range(0, len(found), MOST_FACTS):
            yield who | {section: found[first : first + MOST_FACTS]}
