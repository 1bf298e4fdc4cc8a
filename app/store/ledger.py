"""The ledger: what a submission does to a study.

An atomic submission makes one revision, or none where it says nothing new; so a replay needs no bookkeeping. A refusal
(`ServiceError`) leaves the transaction as it was and usable: several submissions may share one commit.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from app.store import supersession
from app.store.erasure import readmission
from app.store.revision_builder import PatientState, RevisionBuilder
from app.store.supersession import Counts, Tally
from app.store.timelines import check_etag
from app.timeline.facts import History
from app.timeline.normalize import SECTIONS

__all__ = ["Counts", "Outcome", "Submission", "replace", "submit", "submit_each"]

Status = Literal["created", "changed", "unchanged", "stale"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a submission did to one patient; `revision` is the one that stored something of it, `None` if none did."""

    patient: str
    status: Status
    revision: int | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class Submission:
    """What an atomic submission did: one outcome for each history, in their order."""

    revision: int | None
    outcomes: tuple[Outcome, ...]

    @property
    def counts(self) -> Counts:
        """The counts of all outcomes together."""
        return _sum([outcome.counts for outcome in self.outcomes])


def submit(
    connection: Connection,
    study_id: str,
    histories: Sequence[History],
    *,
    format: str,
    client: str | None,
    received_at: int,
) -> Submission:
    """Merge histories of one or several patients as one revision.

    A patient who occurs twice is merged as if posted one after the other. Raises `Erased` where one of the persons
    has been erased, and `InvalidDocument` where two histories state one fact differently and nothing says which of
    them stands.
    """
    return submit_to(RevisionBuilder(connection, study_id, received_at), histories, format=format, client=client)


def submit_to(builder: RevisionBuilder, histories: Sequence[History], *, format: str, client: str | None) -> Submission:
    """Do what `submit` does in a builder that was begun before, to look up what decides about the histories."""
    builder.load_patients(history.patient for history in histories)
    if any(builder.is_erased(history.patient) for history in histories):
        raise Erased
    _refuse_conflicts(histories)
    if len(histories) > 1:
        _load_assertions(builder, histories)
    outcomes = [_merge(builder, history) for history in histories]
    if all(outcome.revision is None for outcome in outcomes):
        return Submission(None, tuple(outcomes))
    touched = [builder.people[outcome.patient] for outcome in outcomes if outcome.revision is not None]
    number = builder.append_revision(
        touched, _sum([outcome.counts for outcome in outcomes]), format=format, client=client
    )
    builder.write()
    return Submission(number, tuple(outcomes))


def submit_each(
    connection: Connection,
    study_id: str,
    histories: Sequence[History],
    *,
    format: str,
    client: str | None,
    received_at: int,
) -> list[Outcome | ServiceError]:
    """Merge histories one after the other, each that stores something as a revision of its own, all in this
    transaction.

    This is a part of a batch or stream that is not atomic: an erased person's history answers with its error in its
    place and the others stand.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients(history.patient for history in histories)
    outcomes: list[Outcome | ServiceError] = []
    for history in histories:
        if builder.is_erased(history.patient):
            outcomes.append(Erased())
            continue
        outcome = _merge(builder, history)
        if outcome.revision is not None:
            builder.append_revision([builder.people[history.patient]], outcome.counts, format=format, client=client)
        outcomes.append(outcome)
    builder.write()
    return outcomes


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
) -> Outcome:
    """Make a history all that is said of a patient: what it leaves out is withdrawn.

    `if_match` is the header If-Match as received, `if_none_match` whether If-None-Match was `*`. A timeline that
    exists needs one of them. An erased person is let in again with `readmit`, as a new patient.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients([history.patient])
    entries: list[list[Any]] = []
    if builder.is_erased(history.patient):
        if not readmit:
            raise Erased
        _check_absent(if_match)
        entries = readmission(builder, history.patient)
        outcome = _merge(builder, history)
    elif history.patient not in builder.people:
        _check_absent(if_match)
        outcome = _merge(builder, history)
    else:
        _check_present(builder, history.patient, if_match, if_none_match)
        builder.load_all_assertions(builder.people[history.patient])
        outcome = _merge(builder, history, supersession.replace)
    if outcome.revision is not None:
        builder.append_revision(
            [builder.people[history.patient]], outcome.counts, format=format, client=client, entries=entries
        )
        builder.write()
    return outcome


def _check_absent(if_match: str | None) -> None:
    if if_match is not None:
        raise PreconditionFailed("There is no timeline that If-Match could name.")


def _check_present(builder: RevisionBuilder, patient: str, if_match: str | None, if_none_match: bool) -> None:
    if if_none_match:
        raise PreconditionFailed("The timeline exists already.")
    if if_match is None:
        raise PreconditionRequired
    check_etag(builder.connection, builder.study, patient, if_match)


def _load_assertions(builder: RevisionBuilder, histories: Sequence[History]) -> None:
    """Look up what is known of all facts of a patient at once: in several histories it would be once for each."""
    facts: dict[tuple[str, str], list[Any]] = {}
    for history in histories:
        for kind, of_kind in history.kinds() if history.patient in builder.people else ():
            facts.setdefault((history.patient, kind), []).extend(of_kind)
    for (patient, kind), of_kind in facts.items():
        builder.load_assertions(builder.people[patient], kind, of_kind)


def _merge(builder: RevisionBuilder, history: History, rule: Callable[..., None] = supersession.merge) -> Outcome:
    """Apply a history to what the builder knows of its patient; the revision is appended by the caller."""
    newcomer = history.patient not in builder.people
    person = builder.person(history.patient)
    tally = Tally(repeats=history.repeats)
    before = _stored(person)
    for kind, facts in history.kinds():
        if facts or rule is supersession.replace:
            rule(builder.load_assertions(person, kind, facts), facts, builder.number, person.changing(kind), tally)
    counts = tally.counts()
    changed = newcomer or _stored(person) != before
    return Outcome(person.id, _status(newcomer, counts), builder.number if changed else None, counts)


def _stored(person: PatientState) -> int:
    return sum(len(change.added) + len(change.removed) for change in person.changes.values())


def _status(newcomer: bool, counts: Counts) -> Status:
    if newcomer:
        return "created"
    if counts.added or counts.superseded or counts.withdrawn:
        return "changed"
    return "stale" if counts.stale or counts.late else "unchanged"


def _sum(counts: Sequence[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True))) if counts else Counts()


def _refuse_conflicts(histories: Sequence[History]) -> None:
    """Within one submission arrival decides nothing, so two contents of one order contradict each other."""
    times = Counter(history.patient for history in histories)
    seen: dict[tuple[Any, ...], Any] = {}
    faults = []
    for i, history in enumerate(histories):
        if times[history.patient] == 1:
            continue
        for kind, facts in history.kinds():
            for fact in facts:
                order = (history.patient, kind, fact.identity, fact.version, fact.issued, fact.status)
                if seen.setdefault(order, fact) != fact:
                    faults.append(Fault(pointer(i, SECTIONS.get(kind, "patient")), FaultCode.CONFLICTING_DUPLICATE))
    if faults:
        raise InvalidDocument(faults=faults)
