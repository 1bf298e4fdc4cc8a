"""A cohort from one that is known: only patients whom a revision in between changed are read again.

The leaves of the ledger name the patients whom each revision changed. So a known cohort and the rows of these patients
give the cohort of a later revision, or of an earlier one. A known cohort counts only while the ledger has its revision
with the same hash, and while no person was erased since. After a restore, a number may mean another revision.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from app.store.queries import Query, filled, listed, listed_names
from app.store.tables import erasures, leaves, patients, revisions
from app.store.timelines import cohort_and_links, cohort_of_persons, links_of_keys, zone_of
from app.timeline.cohort import Cohort
from app.timeline.merged_records import persons

FEW, MANY = 8, 2
"""A known cohort is taken at once if not more than one in so many of its patients has changed, and helps if there is no
better one up to one in so many: to read a patient alone takes a little longer than among all.
"""
ALWAYS_FEW = 64
"""So many patients may have changed in any case."""

_STATE = Query(
    select(
        revisions.c.hash,
        select(func.count()).select_from(erasures).where(erasures.c.study == bindparam("study")).scalar_subquery(),
    ).where(revisions.c.study == bindparam("study"), revisions.c.number == bindparam("revision")),
    "study",
    "revision",
)
_CHANGED = Query(
    select(leaves.c.patient_key)
    .where(leaves.c.study == bindparam("study"), leaves.c.patient_key != 0)
    .where(leaves.c.number > bindparam("first"), leaves.c.number <= bindparam("last"))
    .distinct()
    .limit(bindparam("most")),
    "study",
    "first",
    "last",
    "most",
)


class LedgerState(NamedTuple):
    """A revision of a study: its number and its hash, and how many persons had been erased from the study when it was
    looked up; and the time zone that the study declares in it.
    """

    revision: int
    hash: bytes
    erasures: int
    zone: str | None


@dataclass(frozen=True, slots=True)
class KnownCohort:
    """A cohort, the state of the ledger that it was read from, and for each merged record the record that it names.

    `changed` is the number of patients that were read from their rows.
    """

    cohort: Cohort
    study: int
    state: LedgerState
    links: Mapping[str, str]
    changed: int


def state_of(connection: Connection, study: int, revision: int) -> LedgerState | None:
    """The state of a study at a revision, or `None` if there is no such revision."""
    found = _STATE.row(connection, study, revision)
    if found is None:
        return None
    return LedgerState(revision, bytes(found[0]), found[1], zone_of(connection, study, revision))


def still_counts(connection: Connection, study: int, known: LedgerState) -> bool:
    """Whether the ledger has this state: nobody was erased since, and nothing was restored."""
    return state_of(connection, study, known.revision) == known


def known_cohort(connection: Connection, study: int, revision: int, bases: Iterable[KnownCohort | None]) -> KnownCohort:
    """The cohort of a study at a revision that it has: from the first of these bases from which few patients changed,
    else from the one from which the fewest did, if it helps, else from all rows.
    """
    state = state_of(connection, study, revision)
    assert state is not None  # noqa: S101 - the caller found the revision
    nearest: tuple[KnownCohort, list[int]] | None = None
    for base in bases:
        if base is None or base.state.zone != state.zone or not still_counts(connection, study, base.state):
            continue
        most = len(nearest[1]) - 1 if nearest else _share(base.cohort, MANY)
        changed = changed_patients(connection, study, base.state.revision, revision, most + 1)
        if len(changed) <= most:
            nearest = base, changed
            if len(changed) <= _share(base.cohort, FEW):
                break
    if nearest is not None:
        return _with_changes(connection, nearest[0], state, nearest[1])
    cohort, links = cohort_and_links(connection, study, revision)
    return KnownCohort(cohort, study, state, links, len(cohort))


def changed_patients(connection: Connection, study: int, one: int, other: int, most: int) -> list[int]:
    """The keys of at most `most` patients changed by the revisions after the earlier of the two, up to the later."""
    return [row[0] for row in _CHANGED.rows(connection, study, min(one, other), max(one, other), most)]


def _share(cohort: Cohort, one_in: int) -> int:
    return max(ALWAYS_FEW, len(cohort) // one_in)


def _with_changes(connection: Connection, base: KnownCohort, state: LedgerState, changed: list[int]) -> KnownCohort:
    study, revision = base.study, state.revision
    touched, present = _records(connection, changed, revision)
    links = {record: into for record, into in base.links.items() if record not in touched}
    links |= links_of_keys(connection, revision, present)
    before = _Records(base, {}, touched=frozenset())
    after = _Records(base, present, touched)
    groups = [persons(base.links, before), persons(links, after)]
    records = _all_of_their_persons(touched, groups)
    merged = {record for mine in groups[1].values() for record in mine}
    of_person = {record: [record, *groups[1].get(record, ())] for record in records - merged if record in after}
    own = {record for mine in of_person.values() for record in mine}
    keys = {record: present[record] for record in own & present.keys()}
    keys |= _keys_of(connection, study, own - present.keys())
    new = cohort_of_persons(connection, study, revision, of_person, keys)
    cohort = base.cohort if not records else base.cohort.with_persons(new, gone=records)
    return KnownCohort(cohort, study, state, links, len(changed))


def _all_of_their_persons(touched: Iterable[str], groups: list[dict[str, list[str]]]) -> set[str]:
    """These records and all that are of one person with one of them, before or after."""
    person_of = [
        {record: survivor for survivor, merged in group.items() for record in (survivor, *merged)} for group in groups
    ]
    found: set[str] = set()
    waiting = list(touched)
    while waiting:
        record = waiting.pop()
        if record not in found:
            found.add(record)
            for of, group in zip(person_of, groups, strict=True):
                if (survivor := of.get(record)) is not None:
                    waiting += [survivor, *group[survivor]]
    return found


@dataclass(frozen=True, slots=True)
class _Records:
    """The records that a study has at a revision: those of a known cohort, but of the `touched` ones only those that
    are `present`.
    """

    base: KnownCohort
    present: Mapping[str, int]
    touched: frozenset[str]

    def __contains__(self, record: object) -> bool:
        if record in self.touched:
            return record in self.present
        return record in self.base.links or self.base.cohort.has(str(record))


def _records(connection: Connection, keys: list[int], revision: int) -> tuple[frozenset[str], dict[str, int]]:
    """The identifiers of patients by key, and the keys of those that the study has at the revision."""
    rows = [row for chunk in filled(keys) for row in set(_of_keys(len(chunk)).rows(connection, *chunk))]
    return frozenset(row[0] for row in rows), {row[0]: row[1] for row in rows if row[2] <= revision}


def _keys_of(connection: Connection, study: int, records: Iterable[str]) -> dict[str, int]:
    return dict(
        row for chunk in filled(sorted(records)) for row in _of_names(len(chunk)).rows(connection, study, *chunk)
    )


_COLUMNS = (patients.c.id, patients.c.key, patients.c.first_revision)


@cache
def _of_keys(length: int) -> Query:
    return Query(select(*_COLUMNS).where(patients.c.key.in_(listed(length))), *listed_names(length))


@cache
def _of_names(length: int) -> Query:
    clause = select(*_COLUMNS[:2]).where(patients.c.study == bindparam("study"), patients.c.id.in_(listed(length)))
    return Query(clause, "study", *listed_names(length))
