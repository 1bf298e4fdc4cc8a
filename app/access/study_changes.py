"""What a worker computes for the changes of a study: the key results at each revision of a page."""

from dataclasses import dataclass

from pydantic_core import to_json

from app import SOFTWARE
from app.access.work import Workplace
from app.analyses.study_changes import (
    ChangedFacts,
    KeyValues,
    StudyChanges,
    StudyStep,
    figure_changes,
    key_values,
    moved,
)
from app.errors import Erased
from app.store.revisions import AsOf
from app.store.snapshot import study_at
from app.store.steps import RevisionStep
from app.timeline.times import instant_text


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """One page of the steps of a study: those after `after`, up to `until`; `following` is the address of the next."""

    study: str
    start: int
    end: int
    after: int
    until: int
    patients: bool
    following: str | None


def changes_of_study(asked: ChangesPage, place: Workplace) -> bytes:
    """The page as JSON. Each revision is read alone, so that no other is in memory with it."""
    first, last = _figures(place, asked.study, asked.start), _figures(place, asked.study, asked.end)
    with study_at(place.database, asked.study, AsOf(asked.until), though_erased=True) as snapshot:
        records = snapshot.revisions(after=asked.after, limit=asked.until - asked.after)
        steps = snapshot.steps(after=asked.after)
    known = {asked.start: first, asked.end: last}
    before = _figures_if_kept(place, asked.study, asked.after, known)
    items = []
    for record in records:
        after = _figures_if_kept(place, asked.study, record.number, known)
        step = steps[record.number]
        items.append(
            StudyStep(
                revision=record.number,
                received_at=instant_text(record.received_at),
                client=record.client,
                format=record.format,
                erased=after is None,
                protocol_changed=step.protocol,
                facts=facts_of_step(step),
                patients=tuple(step.patients) if asked.patients else None,
                figures=moved(figure_changes(before, after)),
            )
        )
        before = after
    changes = StudyChanges.model_validate(
        {
            "study": asked.study,
            "from": asked.start,
            "to": asked.end,
            "software": SOFTWARE,
            "figures": tuple(figure_changes(first, last)),
            "items": tuple(items),
            "next": asked.following,
        }
    )
    return to_json(changes.model_dump(mode="json", by_alias=True), indent=2) + b"\n"


def _figures(place: Workplace, study: str, revision: int) -> KeyValues:
    """The key results at a revision. Raises `Erased` if it held a person who was erased since."""
    with study_at(place.database, study, AsOf(revision)) as snapshot:
        cohort, protocol = snapshot.cohort(), snapshot.protocol
    return key_values(cohort, protocol)


def _figures_if_kept(place: Workplace, study: str, revision: int, known: dict[int, KeyValues]) -> KeyValues | None:
    if revision in known:
        return known[revision]
    try:
        return _figures(place, study, revision)
    except Erased:
        return None


def facts_of_step(step: RevisionStep) -> tuple[ChangedFacts, ...]:
    """How many facts of each kind a revision added and ended."""
    return tuple(
        ChangedFacts(kind=kind, added=step.added.get(kind, 0), ended=step.ended.get(kind, 0))
        for kind in sorted({**step.added, **step.ended})
    )
