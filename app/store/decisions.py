"""Facts that may be the same: what is noted at intake, and the decisions about them (`timeline.same_facts`).

At intake, a fact is compared with the others of the patient that stand. If the content of a new fact proves that it is
one with a fact of an earlier revision, the service decides so, until a correction ends the proof. Two facts of one
submission are never proven to be one, and of one source they are not noted either: their sender states two. Other pairs
that may be one are listed on the worklist, until a person decides.

Facts of two records that were merged are compared when they are read (`timeline.merged_records`). What waits of them
is listed with the worklist and is not stored. A decision about them is kept with a record that was merged into another
one: that one is erased first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

from sqlalchemy import Connection, bindparam, select

from app.errors import Erased, NotFound
from app.store import supersession
from app.store.assertions import ISSUED, STATUS, Assertion, Revision, Tally, standing, visible
from app.store.engine import origin_of
from app.store.fact_tables import FACT_TABLES, LATEST, shown, stands_at
from app.store.fates import Fate
from app.store.queries import Query, filled, listed, listed_names
from app.store.revision_builder import PatientState, RevisionBuilder
from app.store.standing_facts import asserted_facts
from app.store.tables import patient_attributes, patients, revisions
from app.store.timelines import attributes_of_keys, fact_document, merged_records, zone_at
from app.store.worklist import SetAside, Worklist
from app.timeline.facts import FACT_TYPES, AnyFact, AttributeFact
from app.timeline.merged_records import MERGED_INTO, stated_as_one
from app.timeline.number_rule import standing as standing_among
from app.timeline.receipts import Disposition, Note, NoteCode
from app.timeline.same_facts import (
    KIND_OF,
    NAMED,
    PREFIX,
    Compared,
    Decision,
    Pair,
    alike,
    alike_between,
    are_proven_same,
    decision_attribute,
    decision_in,
    is_compared,
    pair_of,
    precedence,
    word_in,
)
from app.timeline.vocabulary import MEANINGS, WITHDRAWN

_VALUE = AttributeFact._fields.index("value")
_POSSIBLE = Note(NoteCode.POSSIBLE_DUPLICATE)
_ONCE = Note(NoteCode.COUNTED_ONCE)
COMPARED = frozenset(NAMED)
"""The kinds of facts that are compared."""


def notes_of_pairs(
    builder: RevisionBuilder, person: PatientState, kind: str, facts: Sequence[Any], found: Iterable[Fate]
) -> Iterator[tuple[int, Note]]:
    """The notes of facts of one submission that may be the same as others, by their places. What the content proves is
    decided, the other pairs wait in `person.undecided`.
    """
    if not any(is_compared(fact) for fact in facts):
        return
    kept = dict(enumerate(facts))
    for fate in found:
        if fate.kind == kind and fate.disposition is not Disposition.KEPT:
            del kept[fate.at]
    known = person.known[kind]
    now = {id(each.fact): each for stated in known.values() for each in visible(kind, stated)}
    others = [] if person.complete else [fact for fact in FACT_TABLES[kind].shown_at(
        builder.connection, person.key, LATEST) if fact.identity not in known]  # fmt: skip
    everything = cast(list[Compared], [*others, *(_typed(kind, each.fact) for each in now.values())])
    if len(everything) < 2:
        return
    fresh = {(each.fact[0], each.fact) for each in now.values() if each.added == builder.number}
    sent: dict[tuple[Any, ...], int] = {tuple(fact): at for at, fact in kept.items()}
    mine = [fact for fact in everything if tuple(fact) in sent]
    timed = any(getattr(fact, "instant", None) is not None for fact in everything)
    zone = zone_at(builder.connection, builder.key, builder.head.number) if timed else None
    noted: dict[int, Note] = {}
    for fact, other in alike(mine, everything, zone):
        pair = pair_of(NAMED[kind], fact.identity, other.identity)
        decided = _decided(builder, person, pair)
        if decided is not None and decided.fact[STATUS] not in WITHDRAWN:
            proof = decision_in(decided.fact[_VALUE]).decided == "proven"
            if not proof or are_proven_same(fact, other):
                continue
        if tuple(other) in sent and fact.source == other.source:
            continue  # their sender states two
        is_new = [(each.identity, tuple(each)) in fresh for each in (fact, other)]
        alone = is_new == [True, False] and tuple(other) not in sent
        if decided is None and alone and are_proven_same(fact, other):
            state(builder, person, decision_attribute(Decision(pair, "proven"), None), Tally())
            noted[sent[tuple(fact)]] = _ONCE
            continue
        noted.setdefault(sent[tuple(fact)], _POSSIBLE)
        person.undecided.append((cast(AnyFact, facts[sent[tuple(fact)]]), pair))
    yield from sorted(noted.items())


def _typed(kind: str, fact: Sequence[Any]) -> Any:  # noqa: ANN401 - a fact of this kind
    make: Any = FACT_TYPES[kind]
    return make(*FACT_TABLES[kind].plain(tuple(fact)))


def _decided(builder: RevisionBuilder, person: PatientState, pair: Pair) -> Assertion | None:
    """The decision about a pair that stands, which may be one that was taken back."""
    name = PREFIX + pair.name
    return standing(builder.load_assertions(person, "attributes", [(name,)]).get(name, []))


def state(builder: RevisionBuilder, person: PatientState, fact: AttributeFact, tally: Tally) -> None:
    """Let a decision stand in the revision that is being made."""
    known = builder.load_assertions(person, "attributes", [fact])
    revision = Revision(builder.number, builder.received)
    supersession.merge("attributes", known, [fact], revision, person.changing("attributes"), tally)


# --- decisions of persons ---------------------------------------------------------------------------------------------

Said = Literal["same", "different", "undecided"]
"""What a person says of a pair. `undecided` takes back what was decided."""


@dataclass(frozen=True, slots=True)
class DecisionOutcome:
    """What a decision did. `revision` is the one that stored it, now or before; `None` if there is none."""

    status: Literal["decided", "taken_back", "unchanged"]
    revision: int | None


def decide(
    connection: Connection,
    study_id: str,
    patient: str,
    pair_name: str,
    said: Said,
    reason: str,
    *,
    client: str | None,
    received_at: int,
) -> DecisionOutcome:
    """Store what a person says of two facts, as one revision. The same again changes nothing.

    What is taken back is listed on the worklist again. Raises `Erased`, and `NotFound` if the pair was never listed or
    decided.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    builder.load_patients([patient])
    if builder.is_erased(patient):
        raise Erased
    person = builder.people.get(patient)
    if person is None:
        raise NotFound("The study has no patient of this name.")
    worklist = Worklist(builder, "decision", None)
    worklist.load([patient])
    name = PREFIX + pair_name
    known = builder.load_assertions(person, "attributes", [(name,)]).get(name, [])
    current = standing(known)
    before = None if current is None or current.fact[STATUS] in WITHDRAWN else current
    pair = decision_in(known[0].fact[_VALUE]).pair if known else worklist.pair_named(patient, pair_name)
    if pair is None:
        pair = _pair_between(builder, patient, pair_name)
    if pair is None:
        raise NotFound("These two facts were never listed as possibly the same.")
    if said == "undecided":
        if before is None:
            return DecisionOutcome("unchanged", None if current is None else current.added)
        decided = decision_in(before.fact[_VALUE]).decided
        status: Literal["decided", "taken_back"] = "taken_back"
    else:
        decided, status = said, "decided"
        stored = None if before is None else decision_in(before.fact[_VALUE])
        if before is not None and stored is not None and (stored.decided, stored.reason) == (said, reason):
            return DecisionOutcome("unchanged", before.added)
    later = [each.fact[ISSUED] + 1 for each in known if each.fact[ISSUED] is not None]
    issued = max([builder.received(builder.number), *later])
    decision = Decision(pair, decided, client, reason)
    fact = decision_attribute(decision, issued, "final" if status == "decided" else "entered-in-error")
    tally = Tally()
    state(builder, person, fact, tally)
    worklist.decide(patient, pair, waits=status == "taken_back")
    revision = builder.append_revision(
        [person], tally.counts(), format="decision", client=client, entries=worklist.entries
    )
    builder.write()
    worklist.write()
    return DecisionOutcome(status, revision)


def _pair_between(builder: RevisionBuilder, patient: str, name: str) -> Pair | None:
    """The pair of this name of two merged records, of which this one keeps the decision."""
    if (origin := origin_of(builder.connection)) is not None:
        origin.bring_person(builder.connection, patient)
    found = pairs_between(builder.connection, builder.key, builder.head.number, of=patient)
    return next((each.pair for each in found if (each.patient, each.pair.name) == (patient, name)), None)


@dataclass(frozen=True, slots=True)
class PairBetween:
    """Facts of two records of one person that may be the same, if nobody has decided: since a `revision`, with a word
    for what they are about. `patient` is the record that keeps a decision.
    """

    patient: str
    pair: Pair
    proven: bool
    revision: int
    word: str
    source: str | None


def pairs_between(connection: Connection, study: int, revision: int, *, of: str | None = None) -> list[PairBetween]:
    """The pairs of merged records at a revision, by patient and name; with `of` those of the person of this record."""
    merged, keys = merged_records(connection, study, revision)
    records_of = {survivor: [survivor, *records] for survivor, records in merged.items()}
    if of is not None:
        records_of = {survivor: records for survivor, records in records_of.items() if of in records}
    names = {keys[record]: record for records in records_of.values() for record in records}
    stated = attributes_of_keys(connection, revision, names)
    zone = zone_at(connection, study, revision) if names else None
    found = []
    for named, kind in KIND_OF.items():
        asserted = asserted_facts(connection, kind, revision, names)
        for survivor, records in records_of.items():
            mine = [asserted.get(record, []) for record in records]
            record_of = {id(fact): record for record, facts in zip(records, mine, strict=True) for fact in facts}
            decided = stated_as_one([stated.get(record, {}) for record in records])
            for both in alike_between(mine, standing_among(kind, *mine), zone):
                pair = pair_of(named, *(fact.identity for fact in both))
                if PREFIX + pair.name in decided:
                    continue
                owners = [record_of[id(fact)] for fact in both]
                since = max(
                    _added(connection, each, keys[owner], identity, revision)
                    for owner, fact in zip(owners, both, strict=True)
                    for each, identity in ((kind, fact.identity), ("attributes", MERGED_INTO))
                )
                keeper = next(owner for owner in owners if owner != survivor)
                proven = are_proven_same(*both)
                found.append(PairBetween(keeper, pair, proven, since, word_in(both[0]), both[0].source))
    return sorted(found, key=lambda each: (each.patient, each.pair.name))


def _added(connection: Connection, kind: str, key: int, identity: str, revision: int) -> int:
    """The revision since which a fact stands."""
    stated = FACT_TABLES[kind].known(connection, key, [identity])
    return max((each.added for each in stated if each.added <= revision), default=0)


def waiting_between(
    connection: Connection, study: int, revision: int, *, after: str = "", limit: int = 100
) -> list[SetAside]:
    """What waits of merged records, as items of the worklist without a number: at most `limit`, after this patient and
    name of a pair.
    """
    found = [each for each in pairs_between(connection, study, revision) if not each.proven]
    listed = [each for each in found if each.patient + each.pair.name > after][:limit]
    return [
        SetAside(None, each.patient, each.word if each.word in MEANINGS else None, NoteCode.POSSIBLE_DUPLICATE, "",
                 each.source, made_by, {"kind": each.pair.kind}, each.revision, received_at, each.pair)
        for each in listed
        for made_by, received_at in _REVISION.rows(connection, study, each.revision)
    ]  # fmt: skip


_REVISION = Query(
    select(revisions.c.format, revisions.c.received_at).where(
        revisions.c.study == bindparam("study"), revisions.c.number == bindparam("number")
    ),
    "study",
    "number",
)


@dataclass(frozen=True, slots=True)
class ListedDecision:
    """A decision that stands: its patient, when it was made, if by a person, and the revision that stored it."""

    patient: str
    decision: Decision
    at: int | None
    revision: int


_LISTED = Query(
    select(
        patients.c.id, patient_attributes.c.value, patient_attributes.c.issued, patient_attributes.c.added
    )
    .join_from(patients, patient_attributes, patient_attributes.c.patient_key == patients.c.key)
    .where(
        patients.c.study == bindparam("study"),
        patient_attributes.c.identity.startswith(PREFIX),
        patients.c.id >= bindparam("patient"),
        (patients.c.id > bindparam("patient")) | (patient_attributes.c.identity > bindparam("name")),
        stands_at(patient_attributes),
        shown(patient_attributes),
    )
    .order_by(patients.c.id, patient_attributes.c.identity)
    .limit(bindparam("limit")),
    "study",
    "patient",
    "name",
    "limit",
    "revision",
)  # fmt: skip


def listed_decisions(
    connection: Connection, study: int, revision: int, *, after: tuple[str, str] = ("", ""), limit: int = 100
) -> list[ListedDecision]:
    """The decisions that stand at a revision, by patient: at most `limit`, after this patient and name of a pair. What
    the content of facts of two merged records proves is one of them, and not stored.
    """
    patient, name = after
    rows = _LISTED.rows(connection, study, patient, PREFIX + name, limit, revision)
    found = [ListedDecision(who, decision_in(value), at, added) for who, value, at, added in rows]
    found += [
        ListedDecision(each.patient, Decision(each.pair, "proven"), None, each.revision)
        for each in pairs_between(connection, study, revision)
        if each.proven and (each.patient, each.pair.name) > after
    ]
    return sorted(found, key=lambda each: (each.patient, each.decision.pair.name))[:limit]


def facts_of_pairs(
    connection: Connection, study: int, revision: int, asked: Sequence[tuple[str, Pair]]
) -> list[list[dict[str, Any]]]:
    """The facts of each pair of a patient that stand at a revision, as a timeline shows them: the first one counts if
    both are one. They may be those of other records of the person.
    """
    keys: Mapping[str, int] = {
        name: key for chunk in filled({patient for patient, _ in asked})
        for name, key in _keys(len(chunk)).rows(connection, study, *chunk)
    }  # fmt: skip
    found = [_facts_of(connection, [keys[patient]], revision, pair) if patient in keys else []
             for patient, pair in asked]  # fmt: skip
    if any(len(facts) < 2 for facts in found):
        merged, of_study = merged_records(connection, study, revision)
        own = {record: [survivor, *records] for survivor, records in merged.items() for record in (survivor, *records)}
        for at, (patient, pair) in enumerate(asked):
            if len(found[at]) < 2 and patient in own:
                found[at] = _facts_of(connection, [of_study[each] for each in own[patient]], revision, pair)
    return [
        [fact_document(KIND_OF[pair.kind], fact) for fact in facts]
        for facts, (_, pair) in zip(found, asked, strict=True)
    ]


def _facts_of(connection: Connection, keys: Sequence[int], revision: int, pair: Pair) -> list[Compared]:
    kind = KIND_OF[pair.kind]
    found = {
        tuple(each.fact): each.fact
        for key in keys
        for each in FACT_TABLES[kind].known(connection, key, (pair.first, pair.second))
        if each.added <= revision
        and (each.removed is None or each.removed > revision)
        and each.fact[STATUS] not in WITHDRAWN
    }
    return sorted((_typed(kind, fact) for fact in found.values()), key=precedence)


@cache
def _keys(length: int) -> Query:
    clause = select(patients.c.id, patients.c.key).where(
        patients.c.study == bindparam("study"), patients.c.id.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))
