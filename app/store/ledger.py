"""The ledger: what a submission does to a study.

An atomic submission makes one revision, or none if it says nothing new. So the same submission may be sent again. A
refusal (`ServiceError`) changes nothing in the transaction, which can still be used: several submissions may share one
commit.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

from sqlalchemy import Connection

from app.errors import (
    Erased,
    Fault,
    FaultCode,
    InvalidDocument,
    PreconditionFailed,
    PreconditionRequired,
    ServiceError,
    pointer,
)
from app.store import decisions, fates, neighbours, supersession
from app.store.assertions import Counts, Revision, Tally
from app.store.erasure import readmission
from app.store.fates import Fate
from app.store.merge_rings import end_turned_links, ring_faults
from app.store.revision_builder import PatientState, RevisionBuilder
from app.store.timelines import check_etag
from app.store.worklist import Worklist
from app.timeline.facts import KINDS, History, statement_key
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import Note, NoteCode, Receipt

__all__ = ["Counts", "Outcome", "Submission", "replace", "submit", "submit_each"]

Status = Literal["created", "changed", "unchanged", "stale"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a submission did to one patient. `revision` is the revision that stored it, `None` if nothing was stored.

    `fates` has what happened to each fact of the history that is not new and stands, or that changed other facts.
    `receipt` is added by the submission. `draws` has the draws of its facts, by kind and identity, if they are not the
    usual ones.
    """

    patient: str
    status: Status
    revision: int | None
    counts: Counts
    fates: tuple[Fate, ...] = field(default=(), compare=False)
    receipt: Receipt = field(default=Receipt(), compare=False)
    draws: Mapping[tuple[str, str], str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Submission:
    """What an atomic submission did: one outcome for each history, in the same order."""

    revision: int | None
    outcomes: tuple[Outcome, ...]

    @property
    def counts(self) -> Counts:
        """The sum of the counts of all outcomes."""
        return _sum([outcome.counts for outcome in self.outcomes])


def submit(
    connection: Connection,
    study_id: str,
    histories: Sequence[History],
    *,
    format: str,
    client: str | None,
    received_at: int,
    sender: str | None = None,
) -> Submission:
    """Store histories of one or several patients as one revision.

    Two histories of one patient are stored as if they were posted one after the other; their fates are those of the
    end. Raises `Erased` if one of the persons was erased, and `InvalidDocument` if two histories state one fact
    differently and neither version, time of issue nor status decides between them, or if merges would close a ring.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    return submit_to(builder, histories, format=format, client=client, sender=sender)


def submit_to(
    builder: RevisionBuilder,
    histories: Sequence[History],
    *,
    format: str,
    client: str | None,
    sender: str | None = None,
) -> Submission:
    """Do the same as `submit`, with a builder that the caller made before, because it needed one to read the study."""
    builder.load_patients(history.patient for history in histories)
    if any(builder.is_erased(history.patient) for history in histories):
        raise Erased
    _refuse_conflicts(histories)
    _refuse_rings(builder, histories)
    if len(histories) > 1:
        _load_assertions(builder, histories)
    worklist = Worklist(builder, format, sender)
    worklist.load(history.patient for history in histories)
    merged = _merge_all(builder, histories)
    outcomes = _listed(worklist, histories, merged)
    if all(outcome.revision is None for outcome in outcomes):
        return Submission(None, tuple(outcomes))
    number = builder.append_revision(
        _touched(builder, merged),
        _sum([outcome.counts for outcome in outcomes]),
        format=format,
        client=client,
        entries=worklist.entries,
    )
    builder.write()
    worklist.write()
    return Submission(number, tuple(outcomes))


def submit_each(
    connection: Connection,
    study_id: str,
    histories: Sequence[History],
    *,
    format: str,
    client: str | None,
    received_at: int,
    sender: str | None = None,
) -> list[Outcome | ServiceError]:
    """Store histories one after the other in this transaction. Each history that stores something makes one revision.

    This serves batches and streams that are not atomic: for an erased person the list has an error at the place of the
    history, and the other histories are stored. So it is for a history whose merge would close a ring.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients(history.patient for history in histories)
    worklist = Worklist(builder, format, sender)
    worklist.load(history.patient for history in histories)
    outcomes = [append(builder, worklist, history, format=format, client=client) for history in histories]
    builder.write()
    worklist.write()
    return outcomes


def append(
    builder: RevisionBuilder, worklist: Worklist, history: History, *, format: str, client: str | None
) -> Outcome | ServiceError:
    """Add a history as one revision to what a builder will write, or say why not.

    The caller has loaded its patient, and writes both.
    """
    if builder.is_erased(history.patient):
        return Erased()
    if rings := ring_faults(builder, [history]):
        return InvalidDocument(faults=rings)
    merged = _merge(builder, [history])
    [outcome] = _listed(worklist, [history], merged)
    if outcome.revision is not None:
        touched = _touched(builder, merged)
        builder.append_revision(touched, outcome.counts, format=format, client=client, entries=worklist.entries)
    return outcome


def replace(
    connection: Connection,
    study_id: str,
    history: History,
    *,
    if_match: str | None,
    if_none_match: bool = False,
    readmit: bool = False,
    format: str,
    client: str | None,
    received_at: int,
    sender: str | None = None,
) -> Outcome:
    """Replace all facts of a patient by a history: a fact that it leaves out is withdrawn.

    `if_match` is the header If-Match as received. `if_none_match` is `True` if If-None-Match was `*`. A timeline that
    exists needs one of them. With `readmit`, an erased person is stored again, as a new patient. Raises `Erased`,
    `PreconditionFailed` and `PreconditionRequired`.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients([history.patient])
    _refuse_rings(builder, [history], put=True)
    entries: list[list[Any]] = []
    if builder.is_erased(history.patient):
        if not readmit:
            raise Erased
        _check_absent(if_match)
        entries = readmission(builder, history.patient)
        merged = _merge(builder, [history], supersession.replace)
    elif history.patient not in builder.people:
        _check_absent(if_match)
        merged = _merge(builder, [history], supersession.replace)
    else:
        _check_present(builder, history.patient, if_match, if_none_match)
        builder.load_all_assertions(builder.people[history.patient])
        merged = _merge(builder, [history], supersession.replace)
    worklist = Worklist(builder, format, sender)
    worklist.load([history.patient])
    [listed] = _listed(worklist, [history], merged)
    if listed.revision is not None:
        touched = _touched(builder, merged)
        entries += worklist.entries
        builder.append_revision(touched, listed.counts, format=format, client=client, entries=entries)
        builder.write()
        worklist.write()
    return listed


def _touched(builder: RevisionBuilder, outcomes: Sequence[Outcome]) -> list[PatientState]:
    """The patients whose facts a submission changes."""
    return [builder.people[outcome.patient] for outcome in outcomes if outcome.revision is not None]


def _listed(worklist: Worklist, histories: Sequence[History], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of a submission, after its effect on the worklist. That alone makes a revision, too."""
    pairs = [(history, outcome.fates) for history, outcome in zip(histories, outcomes, strict=True)]
    return [
        changed(outcome, revision=worklist.builder.number, status="changed")
        if listed and outcome.revision is None
        else outcome
        for listed, outcome in zip(worklist.revise(pairs), outcomes, strict=True)
    ]


def _check_absent(if_match: str | None) -> None:
    if if_match is not None:
        raise PreconditionFailed("There is no timeline, so that If-Match cannot match.")


def _check_present(builder: RevisionBuilder, patient: str, if_match: str | None, if_none_match: bool) -> None:
    if if_none_match:
        raise PreconditionFailed("The timeline exists already.")
    if if_match is None:
        raise PreconditionRequired
    check_etag(builder.connection, builder.study, patient, if_match)


def _load_assertions(builder: RevisionBuilder, histories: Sequence[History]) -> None:
    """Read what is known of all facts of a patient at once, not once for each history of the patient."""
    facts: dict[tuple[str, str], list[Any]] = {}
    for history in histories:
        for kind, kind_facts in history.kinds() if history.patient in builder.people else ():
            facts.setdefault((history.patient, kind), []).extend(kind_facts)
    for (patient, kind), kind_facts in facts.items():
        builder.load_assertions(builder.people[patient], kind, kind_facts)


def _merge_all(builder: RevisionBuilder, histories: Sequence[History]) -> list[Outcome]:
    """Apply the histories of several patients; the outcomes are in the order of the histories."""
    places: dict[str, list[int]] = {}
    for at, history in enumerate(histories):
        places.setdefault(history.patient, []).append(at)
    outcomes = {
        at: outcome
        for mine in places.values()
        for at, outcome in zip(mine, _merge(builder, [histories[at] for at in mine]), strict=True)
    }
    return [outcomes[at] for at in range(len(histories))]


def _merge(
    builder: RevisionBuilder, histories: Sequence[History], rule: Callable[..., None] = supersession.merge
) -> list[Outcome]:
    """Apply histories of one patient, one after the other, to what the builder knows. The caller appends the revision.

    The fates are those of the end: a fact that a later history of the same revision replaced is `superseded`.
    """
    is_new = histories[0].patient not in builder.people
    if is_new and all(_is_aside(history) for history in histories):
        return [_nothing_stored(history) for history in histories]
    person = builder.person(histories[0].patient)
    facts = [(kind, sent) for kind, sent in _facts(histories) if sent or rule is supersession.replace]
    known = {kind: builder.load_assertions(person, kind, sent) for kind, sent in facts}
    seen = {} if is_new else {kind: fates.shown(kind, sent, known[kind]) for kind, sent in facts if sent}
    outcomes: list[Outcome] = []
    notes: dict[int, list[Note]] = {}
    created = is_new
    for history in histories:
        if created and _is_aside(history):
            outcomes.append(_nothing_stored(history))
            continue
        outcomes.append(_apply(builder, person, history, rule, notes, is_new=created))
        created = False
    found: list[Fate] = []
    for kind, sent in facts:
        if sent and not (is_new and fates.are_plain(kind, sent, known[kind])):
            found += fates.fates(kind, sent, known[kind], builder.number, seen.get(kind, {}), notes)
    if labs := dict(facts).get("labs"):
        counting = fates.counting("labs", labs, found)
        beside = neighbours.notes_beside(builder.connection, person, counting, is_new=is_new)
        found = fates.with_notes("labs", found, beside)
    for kind, sent in facts:
        if sent and kind in decisions.COMPARED:
            pairs = decisions.notes_of_pairs(builder, person, kind, sent, found)
            found = fates.with_notes(kind, found, pairs)
    return [
        changed(outcome, fates=tuple(mine)) if mine else outcome
        for outcome, mine in zip(outcomes, _noted(person, histories, found), strict=True)
    ]


def _apply(
    builder: RevisionBuilder,
    person: PatientState,
    history: History,
    rule: Callable[..., None],
    notes: dict[int, list[Note]],
    *,
    is_new: bool,
) -> Outcome:
    """Apply one history to a patient. What the rule says of its facts is added to `notes`."""
    tally = Tally(repeats=history.repeats, notes=notes)
    before = 0 if is_new else _stored(person)
    revision = Revision(builder.number, builder.received)
    for kind, facts in history.kinds():
        if facts or rule is supersession.replace:
            rule(kind, person.known[kind], facts, revision, person.changing(kind), tally, history.instruction)
    turned = end_turned_links(builder, person, history, tally)
    builder.touch(turned)
    counts = tally.counts()
    stored = builder.number if is_new or turned or _stored(person) != before else None
    return Outcome(person.id, _status(is_new, counts, tally.changed), stored, counts, draws=tally.draws)


def _nothing_stored(history: History) -> Outcome:
    return Outcome(history.patient, "unchanged", None, Counts(repeats=history.repeats))


def _is_aside(history: History) -> bool:
    """Whether a history has nothing but what its reader set aside."""
    return bool(history.aside) and not any(facts for _, facts in history.kinds())


def _facts(histories: Sequence[History]) -> Sequence[tuple[str, Sequence[Any]]]:
    """The facts of each kind of all histories."""
    if len(histories) == 1:
        return histories[0].kinds()
    return [(kind, [fact for history in histories for fact in getattr(history, kind)]) for kind in KINDS]


def _noted(person: PatientState, histories: Sequence[History], found: Sequence[Fate]) -> list[Sequence[Fate]]:
    """The fates of each history, from those of all of them. The notes of new facts are kept with them."""
    mine: list[Sequence[Fate]] = [found]
    if len(histories) > 1:
        whose = {kind: [(no, at) for no, each in enumerate(histories) for at in range(len(getattr(each, kind)))]
                 for kind in {fate.kind for fate in found}}  # fmt: skip
        split: list[list[Fate]] = [[] for _ in histories]
        for fate in found:
            no, at = whose[fate.kind][fate.at]
            split[no].append(fate._replace(at=at))
        mine = list(split)
    for history, fates_of in zip(histories, mine, strict=True):
        _note(person, history, fates_of)
    return mine


def _note(person: PatientState, history: History, found: Sequence[Fate]) -> None:
    """Keep the notes of new facts with them."""
    told = {(fate.kind, fate.at): fate.notes for fate in found
            if fate.notes and fate.notes[0].code is not NoteCode.UNCHANGED}  # fmt: skip
    if not told and not history.notes:
        return
    fresh = {id(each.fact): each for change in person.changes.values() for each in change.added}
    for place in chain(history.notes, (place for place in told if place not in history.notes)):
        kind, index = place
        assertion = fresh.get(id(getattr(history, kind)[index]))
        if assertion is not None:
            assertion.notes = _text(history.notes.get(place, ()) + told.get(place, ()))


@lru_cache(maxsize=256)
def _text(notes: tuple[Note, ...]) -> str:
    return json.dumps([[note.code, note.about] if note.about else [note.code] for note in notes])


def _stored(person: PatientState) -> int:
    return sum(len(change.added) + len(change.removed) for change in person.changes.values())


def _status(is_new: bool, counts: Counts, changed: bool) -> Status:
    if is_new:
        return "created"
    if changed or counts.added or counts.superseded or counts.withdrawn:
        return "changed"
    return "stale" if counts.stale or counts.late else "unchanged"


def _sum(counts: Sequence[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


def _refuse_rings(builder: RevisionBuilder, histories: Sequence[History], *, put: bool = False) -> None:
    """Raise `InvalidDocument` if a merge of records would close a ring."""
    if faults := ring_faults(builder, histories, put=put):
        raise InvalidDocument(faults=faults)


def _refuse_conflicts(histories: Sequence[History]) -> None:
    """Raise `InvalidDocument` if two histories state one fact differently with equal time, version, time of issue and
    status.

    In one submission the order of arrival decides nothing.
    """
    times = Counter(history.patient for history in histories)
    seen: dict[tuple[Any, ...], Any] = {}
    faults = []
    for i, history in enumerate(histories):
        if times[history.patient] == 1:
            continue
        for kind, facts in history.kinds():
            for fact in facts:
                if seen.setdefault((history.patient, *statement_key(kind, fact)), fact) != fact:
                    faults.append(Fault(pointer(i, SECTIONS.get(kind, "patient")), FaultCode.CONFLICTING_DUPLICATE))
    if faults:
        raise InvalidDocument(faults=faults)
