"""The contract of all formats: the rules that each of them applies to what it reads, each written once.

`noted` says of each fact what its receipt says besides that it is kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

from app.timeline.facts import History, LabFact
from app.timeline.receipts import Note, NoteCode

LIMITS: dict[str, tuple[float, float]] = dict.fromkeys(("CK", "LDH", "AST", "ALT"), (20.0, 2000.0))
"""Upper limits of normal outside these bounds are implausible, in U/L. Aldolase and myoglobin have other ones."""
TIMES_NEIGHBOURS = 100.0
"""A result this many times each of the results before and after it is implausible."""
_EVERYTHING = (float("-inf"), float("inf"))
_NOTED = itemgetter(*map(LabFact._fields.index, ("upper_limit", "comparator", "utc", "issued", "instant")))
_LEAST, _GREATEST = max(least for least, _ in LIMITS.values()), min(greatest for _, greatest in LIMITS.values())


def noted(history: History) -> History:
    """The history with the notes that follow from its facts, after those of its reader."""
    notes = dict(history.notes)
    for i, lab in enumerate(history.labs if _may_have_notes(history.labs) else ()):
        found = tuple(_of_lab(lab))
        if found:
            notes["labs", i] = _same(notes.get(("labs", i), ()) + found)
    for kind in ("assessments", "infusions", "events"):
        for i, fact in enumerate(getattr(history, kind)):
            if fact.utc:
                notes[kind, i] = (*notes.get((kind, i), ()), Note(NoteCode.UTC_DAY))
    for i, event in enumerate(history.events):
        if event.onset is not None and event.day is None:
            notes["events", i] = (*notes.get(("events", i), ()), Note(NoteCode.DETAIL_LEFT_OUT, "onset"))
    return replace(history, notes=notes) if notes else history


@lru_cache(maxsize=256)
def _same(notes: tuple[Note, ...]) -> tuple[Note, ...]:
    """The notes as one object for all results that have them: thousands have equal ones."""
    return notes


def _may_have_notes(labs: Sequence[LabFact]) -> bool:
    """Whether any result may have a note. Most documents have none."""
    for upper, comparator, utc, issued, instant in map(_NOTED, labs):
        if upper is None or not _LEAST <= upper <= _GREATEST or comparator is not None or utc:
            return True
        if issued is not None and instant is not None and issued < instant:
            return True
    return False


def _of_lab(lab: LabFact) -> Iterator[Note]:
    if lab.value is None:
        return
    if lab.upper_limit is None:
        yield Note(NoteCode.NO_UPPER_LIMIT)
    else:
        least, greatest = LIMITS.get(lab.code, _EVERYTHING)
        if not least <= lab.upper_limit <= greatest:
            yield Note(NoteCode.IMPLAUSIBLE, "upper_limit")
    if lab.comparator is not None:
        yield Note(NoteCode.BOUND)
    if lab.utc:
        yield Note(NoteCode.UTC_DAY)
    if lab.issued is not None and lab.instant is not None and lab.issued < lab.instant:
        yield Note(NoteCode.IMPLAUSIBLE, "issued_before_drawn")
