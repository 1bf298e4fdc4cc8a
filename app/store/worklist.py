"""The worklist of a study: facts that were set aside, until a later message mends them or a person dismisses them.

An item is about one fact that was sent and does not count. The content of an unreadable fact is not stored: two keyed
hashes recognise the fact (`fact`) and the very same statement of it (`fingerprint`). An ambiguous statement is in the
ledger; its item says where.

An item is mended when the same fact is kept later: the same number, code and time; without a number the same code, time
and source. If the time could not be read, a new fact with the same number and code mends it; without number and time,
a new fact with the same code at the same place of a message of the same sender. What one submission sets aside, the
same submission does not mend. The same statement makes one item only, however often it arrives.

Two facts that may be the same are an item, too (`timeline.same_facts`). Both are in the ledger and count. The item ends
when a person decides, or when the facts cannot be the same any more: one was withdrawn, or has another time.
"""

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, cast, get_args

from sqlalchemy import Connection, bindparam, func, or_, select

from app.errors import Conflict, Erased, NotFound
from app.store.assertions import AMBIGUOUS, Assertion, Counts, visible
from app.store.engine import origin_of
from app.store.fact_tables import FACT_TABLES
from app.store.fates import Fate
from app.store.hashes import item_digest, sent_hash
from app.store.queries import Insertion, Query, Row, filled, listed, listed_names
from app.store.revision_builder import PatientState, RevisionBuilder
from app.store.standing_facts import pair_in
from app.store.tables import revisions, set_aside
from app.store.timelines import zone_at
from app.timeline.document import Kind
from app.timeline.facts import FACT_TYPES, KINDS, AnyFact, History, MedicationFact
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import Disposition, NoteCode, ReceiptLine, SentFact
from app.timeline.same_facts import KIND_OF, Compared, Pair, may_be_same
from app.timeline.times import NO_DAY, when_text
from app.timeline.vocabulary import MEANINGS

Ending = Literal["mended", "replaced", "dismissed", "decided"]
"""How an item left the worklist. `replaced`: another statement about the same fact was set aside later. `decided`: a
person said whether two facts are one.
"""
DismissalReason = Literal["duplicate", "error_at_source", "not_of_study", "cannot_be_mended", "other"]

_CONTENT = ("patient", "section", "code", "reason", "place", "sender", "format", "statement", "fact", "fingerprint")
_EMPTIED = ("salt", *_CONTENT, "dismissal", "comment")
_OF_STUDY = set_aside.c.study == bindparam("of_study")
_INSERT = Insertion(set_aside)
_LAST = Query(select(set_aside.c.number).where(_OF_STUDY).order_by(set_aside.c.number.desc()).limit(1), "of_study")
_KNOWN = Query(
    select(set_aside.c.fingerprint).where(_OF_STUDY, set_aside.c.patient == bindparam("who")),
    "of_study",
    "who",
)  # fmt: skip
_END = Query(
    set_aside.update()
    .where(_OF_STUDY, set_aside.c.number == bindparam("item"))
    .values(
        removed=bindparam("at"), ending=bindparam("how"), ending_digest=bindparam("hash"),
        dismissal=bindparam("why"), comment=bindparam("words"),
    ),
    "at", "how", "hash", "why", "words", "of_study", "item",
)  # fmt: skip
_ERASE = Query(
    set_aside.update()
    .where(_OF_STUDY, set_aside.c.patient == bindparam("who"))
    .values(erased=bindparam("at"), **dict.fromkeys(_EMPTIED)),
    "at",
    "of_study",
    "who",
)
_OF_PATIENT = Query(
    select(set_aside.c.number, set_aside.c.added)
    .where(_OF_STUDY, set_aside.c.patient == bindparam("who"))
    .order_by(set_aside.c.number),
    "of_study",
    "who",
)
_ITEM = Query(
    select(
        set_aside.c.removed, set_aside.c.ending, set_aside.c.erased, set_aside.c.salt, set_aside.c.dismissal,
        set_aside.c.comment, set_aside.c.reason,
    ).where(_OF_STUDY, set_aside.c.number == bindparam("item")),
    "of_study",
    "item",
)  # fmt: skip
_LIST = Query(
    select(
        set_aside.c.number, set_aside.c.patient, set_aside.c.code, set_aside.c.reason, set_aside.c.place,
        set_aside.c.sender, set_aside.c.format, set_aside.c.statement, set_aside.c.added, revisions.c.received_at,
    )
    .join_from(
        set_aside, revisions, (revisions.c.study == set_aside.c.study) & (revisions.c.number == set_aside.c.added)
    )
    .where(
        _OF_STUDY,
        set_aside.c.number > bindparam("after"),
        set_aside.c.added <= bindparam("revision"),
        or_(set_aside.c.removed.is_(None), set_aside.c.removed > bindparam("revision")),
        set_aside.c.erased.is_(None),
    )
    .order_by(set_aside.c.number)
    .limit(bindparam("limit")),
    "of_study",
    "after",
    "revision",
    "limit",
)  # fmt: skip
_EVENTS = {
    name: Query(select(*set_aside.c).where(_OF_STUDY, set_aside.c[name].is_not(None)).order_by(set_aside.c[name]),
                "of_study")
    for name in ("added", "removed", "erased")
}  # fmt: skip


_STEPS = {
    name: Query(
        select(set_aside.c[name], func.count())
        .where(_OF_STUDY, set_aside.c[name] > bindparam("after"), set_aside.c[name] <= bindparam("until"))
        .group_by(set_aside.c[name]),
        "of_study",
        "after",
        "until",
    )
    for name in ("added", "removed")
}


@dataclass(frozen=True, slots=True)
class SetAsideStep:
    """How many items one revision added to the worklist, and how many it ended."""

    added: int = 0
    ended: int = 0


def set_aside_steps(connection: Connection, study: int, after: int, until: int) -> dict[int, SetAsideStep]:
    """What the revisions after `after`, up to `until`, did to the worklist; without those that did nothing."""
    added: dict[int, int] = dict(_STEPS["added"].rows(connection, study, after, until))
    ended: dict[int, int] = dict(_STEPS["removed"].rows(connection, study, after, until))
    return {number: SetAsideStep(added.get(number, 0), ended.get(number, 0)) for number in {*added, *ended}}


@cache
def _open_of(length: int) -> Query:
    clause = select(set_aside.c.patient, set_aside.c.number, set_aside.c.fact, set_aside.c.statement).where(
        _OF_STUDY, set_aside.c.patient.in_(listed(length)), set_aside.c.removed.is_(None)
    )
    return Query(clause, "of_study", *listed_names(length))


@dataclass(frozen=True, slots=True)
class SetAside:
    """An item that is listed. `code` is ours, if it is known. `revision` set it aside, `received_at` is its time.

    `statement` says where the history of the patient has an ambiguous statement: its kind, code and number. `pair` are
    two facts that may be the same; those of two merged records have no number, because they are not stored.
    """

    number: int | None
    patient: str
    code: str | None
    reason: str
    place: str
    sender: str | None
    format: str
    statement: Mapping[str, str] | None
    revision: int
    received_at: int
    pair: Pair | None = None

    @property
    def at(self) -> int | str:
        """Its place in the list."""
        return self.patient + self.pair.name if self.number is None and self.pair is not None else self.number or 0


@dataclass(frozen=True, slots=True)
class Dismissal:
    """What a dismissal did. `revision` is the one that dismissed the item, now or before."""

    status: Literal["dismissed", "unchanged"]
    revision: int


@dataclass(slots=True, eq=False)
class _Item:
    """An open item in memory. `in_ledger`: the ledger has the statement. `pair` are facts that may be the same."""

    number: int
    fact: bytes
    in_ledger: bool
    pair: Pair | None = None


@dataclass(slots=True)
class Worklist:
    """What the revisions of one builder do to the worklist of their study."""

    builder: RevisionBuilder
    format: str
    sender: str | None
    _open: dict[str, dict[bytes, list[_Item]]] = field(default_factory=dict)
    """The open items of each patient, by what they are about."""
    _known: dict[str, set[bytes]] = field(default_factory=dict)
    _added: list[tuple[Any, ...]] = field(default_factory=list)
    _endings: list[tuple[Any, ...]] = field(default_factory=list)
    _new: set[int] = field(default_factory=set)
    """The items that the revision that is being made has added."""
    _last: int | None = None
    entries: list[list[Any]] = field(default_factory=list)
    """What the revision that is being made does, for the leaf of the study."""

    def load(self, patients: Iterable[str]) -> None:
        """Read the open items of these patients."""
        unread = sorted(set(patients) - self._open.keys())
        self._open |= {patient: {} for patient in unread}
        for chunk in filled(unread):
            found = _open_of(len(chunk)).rows(self.builder.connection, self.builder.key, *chunk)
            for patient, number, fact, statement in found:
                item = _Item(number, bytes(fact), statement is not None, pair_in(statement))
                self._open[patient].setdefault(item.fact, []).append(item)

    def revise(self, submitted: Sequence[tuple[History, Sequence[Fate]]]) -> list[bool]:
        """List what a submission sets aside, and end the items that it mends; for each history, whether it did any."""
        self.entries, self._new = [], set()
        restated: set[bytes] = set()
        added = [self._add(history, fates, restated) for history, fates in submitted]
        return [
            self._mend(history, fates, restated) or new for new, (history, fates) in zip(added, submitted, strict=True)
        ]

    def write(self) -> None:
        """Store everything."""
        connection, study = self.builder.connection, self.builder.key
        _INSERT.run(connection, self._added)
        _END.run_many(connection, [(*ending[1:], None, None, study, ending[0]) for ending in self._endings])

    def _add(self, history: History, fates: Sequence[Fate], restated: set[bytes]) -> bool:
        before = len(self.entries)
        for line in history.aside:
            if line.disposition is Disposition.SET_ASIDE:
                self._list(history.patient, line, None, restated)
        for fate in fates:
            if fate.disposition is Disposition.SET_ASIDE:
                fact = getattr(history, fate.kind)[fate.at]
                place = history.place(fate.kind, fate.at)
                line = ReceiptLine(place, fate.disposition, fate.reason, sent=described(fate.kind, fact, place))
                self._list(history.patient, line, _statement(fate.kind, fact), restated)
        for kind, assertion in self._marked(history.patient):
            if assertion.mark in AMBIGUOUS:
                fact = _fact(kind, assertion)
                line = ReceiptLine("", Disposition.SET_ASIDE, assertion.mark, sent=described(kind, fact, ""))
                self._list(history.patient, line, _statement(kind, fact), restated)
        self._add_pairs(history, restated)
        return len(self.entries) > before

    def _add_pairs(self, history: History, restated: set[bytes]) -> None:
        """List the facts of a history that may be the same as others."""
        person = self.builder.people.get(history.patient)
        waiting = [] if person is None else person.undecided
        for fact, pair in [*waiting]:
            kind = KIND_OF[pair.kind]
            at = next((at for at, each in enumerate(getattr(history, kind)) if each is fact), None)
            if at is not None:
                sent = described(kind, fact, history.place(kind, at))._replace(content="")
                line = ReceiptLine(sent.at, Disposition.KEPT, NoteCode.POSSIBLE_DUPLICATE, sent=sent)
                self._list(history.patient, line, None, restated, pair)
                waiting.remove((fact, pair))

    def pair_named(self, patient: str, name: str) -> Pair | None:
        """The pair of this name that waits for a decision. The items of the patient are loaded."""
        pairs = (item.pair for item in self._items_of(patient))
        return next((pair for pair in pairs if pair is not None and pair.name == name), None)

    def _items_of(self, patient: str) -> list[_Item]:
        return [item for items in self._open[patient].values() for item in items]

    def decide(self, patient: str, pair: Pair, *, waits: bool) -> None:
        """End the items of a pair that somebody has decided. A pair that `waits` again is listed again, if its facts
        stand and may still be the same.
        """
        open_items = [item for item in self._items_of(patient) if item.pair == pair]
        alike = self._alike(self.builder.people[patient], pair) if waits else []
        if alike:
            sent = described(KIND_OF[pair.kind], alike[0], "")._replace(content="")
            line = ReceiptLine("", Disposition.KEPT, NoteCode.POSSIBLE_DUPLICATE, sent=sent)
            self._list(patient, line, None, set(), pair)
        for item in () if waits else open_items:
            self._end(patient, item, "decided")

    def _list(
        self, patient: str, line: ReceiptLine, statement: str | None, restated: set[bytes], pair: Pair | None = None
    ) -> None:
        """Make an item, unless the same statement made one before, which may have ended since."""
        sent = line.sent or SentFact(line.place)
        sender = self.sender or sent.source
        about = _about(patient, sent, sender)
        if pair is not None:
            about, statement = ["pair", patient, *pair], json.dumps({"kind": pair.kind, "facts": pair[1:]})
        fact = self._hash(about)
        content = sent.content if sent.content is not None else f"{sender}|{line.place}"
        fingerprint = self._hash(["statement", fact.hex(), line.reason, content])
        restated.add(fact)
        known = self._fingerprints(patient)
        if fingerprint in known if pair is None else fact in self._open[patient]:  # a pair may be apart for some time
            return
        if sent.word is not None and sent.time is not None:  # else it may be about another fact of the same place
            for item in [item for item in self._open[patient].get(fact, ()) if item.number not in self._new]:
                self._end(patient, item, "replaced")
        number = self._next()
        salt = secrets.token_bytes(32)
        code = sent.word if sent.word in MEANINGS else None
        content_columns = (
            patient, sent.section, code, line.reason, _shown(line.place), _shown(sender), self.format, statement, fact,
            fingerprint,
        )  # fmt: skip
        digest = item_digest(salt, _readable(number, content_columns))
        self._added.append((
            self.builder.key, number, self.builder.number, None, None, None, digest, None, salt, *content_columns,
            None, None,
        ))  # fmt: skip
        known.add(fingerprint)
        self._new.add(number)
        self._open[patient].setdefault(fact, []).append(_Item(number, fact, statement is not None, pair))
        self.entries.append(_added_entry(number, digest))

    def _mend(self, history: History, fates: Sequence[Fate], restated: set[bytes]) -> bool:
        """End the items that the kept facts of a history mend."""
        waiting = self._open.get(history.patient, {})
        if not waiting.keys() - restated:
            return False
        apart = self._apart(history.patient)
        mends = {self._hash(about) for about in self._kept(history, fates)} - restated
        settled = {self._hash(about) for about in self._settled(history.patient)} - restated
        mended = [item for fact in mends | settled for item in waiting.get(fact, ()) if fact in mends or item.in_ledger]
        mended += apart
        for item in mended:
            self._end(history.patient, item, "mended")
        return bool(mended)

    def _apart(self, patient: str) -> list[_Item]:
        """The items of pairs that a change of this revision has set apart: they cannot be the same any more."""
        person = self.builder.people.get(patient)
        if person is None or not any(person.changes.get(kind) for kind in KIND_OF.values()):
            return []
        return [
            item for item in self._items_of(patient) if item.pair is not None and not self._alike(person, item.pair)
        ]

    def _alike(self, person: PatientState, pair: Pair) -> list[Compared]:
        """The first facts of a pair that stand and may be the same as a second one."""
        zone = zone_at(self.builder.connection, self.builder.key, self.builder.head.number)
        kind = KIND_OF[pair.kind]
        known = self.builder.load_assertions(person, kind, [(pair.first,), (pair.second,)])
        one, other = (
            [cast(Compared, _fact(kind, each)) for each in visible(kind, known.get(identity, ()))]
            for identity in (pair.first, pair.second)
        )
        return [each for each in one if any(may_be_same(each, another, zone) for another in other)]

    def _kept(self, history: History, fates: Sequence[Fate]) -> Iterator[list[Any]]:
        """What each kept fact of a history is about."""
        by_fact = {(fate.kind, fate.at): fate for fate in fates}
        for kind, facts in history.kinds():
            for at, fact in enumerate(facts):
                fate = by_fact.get((kind, at))
                if fate is not None and fate.disposition is not Disposition.KEPT:
                    continue
                place = history.place(kind, at)
                if kind not in SECTIONS:
                    yield _about(history.patient, described(kind, fact, place), None)
                    continue
                is_new = fate is None or all(note.code is not NoteCode.UNCHANGED for note in fate.notes)
                yield from _exactly(history.patient, described(kind, fact, place), _days(fact) if is_new else ())
                if is_new:
                    sent = described(kind, fact, place)._replace(time=None)
                    yield _about(history.patient, sent, self.sender or sent.source)
                    yield _about(history.patient, sent._replace(id=None), self.sender or sent.source)

    def _settled(self, patient: str) -> Iterator[list[Any]]:
        """What those statements are about that were ambiguous or no number, and are not any more or do not stand."""
        person = self.builder.people.get(patient)
        gone = [(kind, old) for kind, change in person.changes.items() for old in change.removed] if person else []
        for kind, assertion in (*self._marked(patient), *gone):
            if assertion.mark not in AMBIGUOUS and kind in SECTIONS:
                yield from _exactly(patient, described(kind, _fact(kind, assertion), ""), ())

    def _marked(self, patient: str) -> list[tuple[str, Assertion]]:
        """The stored statements of a patient that this revision makes ambiguous, or clear again."""
        person = self.builder.people.get(patient)
        return [(kind, old) for kind, change in person.changes.items() for old in change.marked] if person else []

    def _fingerprints(self, patient: str) -> set[bytes]:
        """What was ever set aside of a patient."""
        if patient not in self._known:
            self.load([patient])
            rows = _KNOWN.rows(self.builder.connection, self.builder.key, patient)
            self._known[patient] = {bytes(fingerprint) for (fingerprint,) in rows}
        return self._known[patient]

    def _end(self, patient: str, item: _Item, how: Ending) -> None:
        self._open[patient][item.fact].remove(item)
        if not self._open[patient][item.fact]:
            del self._open[patient][item.fact]
        self._endings.append((item.number, self.builder.number, how, None))
        self.entries.append(_ended_entry(item.number, how, None))

    def _next(self) -> int:
        if self._last is None:
            found = _LAST.row(self.builder.connection, self.builder.key)
            self._last = 0 if found is None else int(found[0])
        self._last += 1
        return self._last

    def _hash(self, content: Sequence[Any]) -> bytes:
        return sent_hash(self.builder.secret, content)


_ADDED = "set aside"
_STATEMENT = 7
"""The place of the statement in a row of the list."""
_WORDS = {"labs": "code", "assessments": "code", "infusions": "product", "medications": "drug", "events": "term"}
"""The field that says what a fact of each kind is about."""
_KIND_OF_DOCUMENT: dict[str, Kind] = dict(zip(KINDS, get_args(Kind), strict=True))


def described(kind: str, fact: AnyFact, place: str) -> SentFact:
    """A fact of a history as a reader describes one that it sets aside."""
    day = fact.start_day if isinstance(fact, MedicationFact) else getattr(fact, "day", None)
    if day == NO_DAY:
        day = None
    return SentFact(
        place,
        SECTIONS.get(kind, "patient"),
        getattr(fact, _WORDS.get(kind, "identity")),
        fact.source,
        fact.id,
        None if day is None else when_text(day, getattr(fact, "instant", None)),
        repr(tuple(fact)),
    )


def _shown(text: str | None) -> str | None:
    """A text without characters that cannot be shown or stored."""
    if text is None or text.isprintable():
        return text
    return "".join(each if each.isprintable() else "?" for each in text)


def _fact(kind: str, assertion: Assertion) -> AnyFact:
    """The fact of an assertion that may have been read from the database."""
    make: Any = FACT_TYPES[kind]
    return cast(AnyFact, make(*FACT_TABLES[kind].plain(tuple(assertion.fact))))


def _days(fact: AnyFact) -> tuple[str, ...]:
    """The day of a fact with a clock time: it mends an item of which only the date is known."""
    day = getattr(fact, "day", None)
    return () if day is None or getattr(fact, "instant", None) is None else (when_text(day, None),)


def _about(patient: str, sent: SentFact, sender: str | None) -> list[Any]:
    """Which fact an item is about, as exactly as it is known."""
    if sent.section == "patient" and sent.word is not None:
        return ["attribute", patient, sent.word]
    if sent.word is not None and sent.id is not None:
        return ["number", patient, sent.section, sent.word, sent.source, sent.id, sent.time]
    if sent.word is not None and sent.time is not None:
        return ["time", patient, sent.section, sent.word, sent.source, sent.time]
    return ["place", patient, sent.section, sent.word, sender, sent.at]


def _exactly(patient: str, sent: SentFact, days: Iterable[str]) -> Iterator[list[Any]]:
    """The facts of an item that a fact with a time is the same as: with its number and without, or by its day."""
    for time in (sent.time, *days):
        if time is not None:
            yield _about(patient, sent._replace(time=time), None)
            yield _about(patient, sent._replace(time=time, id=None), None)


def _statement(kind: str, fact: AnyFact) -> str:
    """Where the history of the patient has a statement."""
    named = {"kind": _KIND_OF_DOCUMENT[kind], "code": getattr(fact, "code", None), "id": fact.id}
    return json.dumps({name: value for name, value in named.items() if value is not None})


def listed_items(
    connection: Connection, study: int, revision: int, *, after: int | None = None, limit: int = 100
) -> list[SetAside]:
    """The items on the worklist at a revision, oldest first: at most `limit`, after the item of this number."""
    rows = _LIST.rows(connection, study, after or 0, revision, limit)
    return [SetAside(*_with_statement(row)) for row in rows]


def _with_statement(row: Row) -> Iterator[Any]:
    pair = pair_in(row[_STATEMENT])
    for place, value in enumerate(row):
        if place == _STATEMENT and value is not None:
            yield {"kind": pair.kind} if pair is not None else json.loads(value)
        else:
            yield value
    yield pair


def dismiss(
    connection: Connection,
    study_id: str,
    number: int,
    reason: DismissalReason,
    comment: str | None,
    *,
    client: str | None,
    received_at: int,
) -> Dismissal:
    """Take an item off the worklist, as one revision. The same dismissal again changes nothing.

    Raises `NotFound`, `Erased`, and `Conflict` if the item ended otherwise: it was mended, or dismissed with another
    reason or comment.
    """
    builder = RevisionBuilder(connection, study_id, received_at)
    if (origin := origin_of(connection)) is not None:
        origin.bring_item(connection, number)
    found = _ITEM.row(connection, builder.key, number)
    if found is None:
        raise NotFound("The worklist of the study never had an item of this number.")
    removed, ending, erased, salt, why, words, listed_for = found
    if erased is not None:
        raise Erased
    if listed_for == NoteCode.POSSIBLE_DUPLICATE:
        raise Conflict("The item is about two facts that both count. Decide whether they are the same.")
    if removed is not None:
        if (ending, why, words) != ("dismissed", reason, comment):
            raise Conflict(_ENDED[ending])
        return Dismissal("unchanged", removed)
    hashed = item_digest(bytes(salt), ["dismissed", number, reason, comment])
    _END.run(connection, builder.number, "dismissed", hashed, reason, comment, builder.key, number)
    entry = _ended_entry(number, "dismissed", hashed)
    revision = builder.append_revision([], Counts(), format="dismissal", client=client, entries=[entry])
    builder.write()
    return Dismissal("dismissed", revision)


_ENDED: dict[Ending, str] = {
    "mended": "A later message mended the item; there is nothing to dismiss.",
    "replaced": "A later message replaced the item by another one; dismiss that one.",
    "dismissed": "The item was dismissed before, with another reason or comment.",
    "decided": "A person decided whether the two facts are the same.",
}


def items_of(connection: Connection, study: int, patient: str) -> list[tuple[int, int]]:
    """The items of a patient that were ever listed: the number of each, and the revision that set it aside."""
    return [(number, added) for number, added in _OF_PATIENT.rows(connection, study, patient)]


def erase_items(connection: Connection, study: int, patient: str, revision: int) -> None:
    """Empty the items of a person who is erased by a revision."""
    _ERASE.run(connection, revision, study, patient)


def erased_item_entry(number: int) -> list[Any]:
    """The entry for an item of an erased person in the leaf of the study."""
    return ["erased item", number]


def ledger_entries(connection: Connection, study: int) -> Iterator[Iterator[tuple[int, list[Any]]]]:
    """The entries that the rows of the worklist give, each with its revision, to compare with the leaves.

    There is one series for each kind of event, each in the order of the revisions. The digest of an item that was not
    erased is computed again from its content.
    """
    for event, query in _EVENTS.items():
        yield _entries_of(event, query.stream(connection, study))


def _entries_of(event: str, rows: Iterator[Row]) -> Iterator[tuple[int, list[Any]]]:
    names = [column.name for column in set_aside.columns]
    for values in rows:
        row = dict(zip(names, values, strict=True))
        number, whole = row["number"], _is_whole(row)
        if event == "erased":
            yield row["erased"], erased_item_entry(number)
        elif event == "added":
            yield row["added"], _added_entry(number, row["digest"] if whole else b"")
        else:
            yield row["removed"], _ended_entry(number, row["ending"], row["ending_digest"] if whole else b"")


def _is_whole(row: Mapping[str, Any]) -> bool:
    """Whether the content of a row and its digests agree; an erased row has no content."""
    if row["removed"] is None and (row["ending"] is not None or row["ending_digest"] is not None):
        return False
    if row["erased"] is not None:
        return all(row[name] is None for name in _EMPTIED)
    salt, number, why = row["salt"] or b"", row["number"], (row["dismissal"], row["comment"])
    if row["ending"] == "dismissed":
        ended = bytes(row["ending_digest"] or b"") == item_digest(salt, ["dismissed", number, *why])
    else:
        ended = (row["ending_digest"], *why) == (None, None, None)
    content = _readable(number, [row[name] for name in _CONTENT])
    return ended and bytes(row["digest"]) == item_digest(salt, content)


def _added_entry(number: int, digest: bytes) -> list[Any]:
    return [_ADDED, number, digest.hex()]


def _ended_entry(number: int, how: str, digest: bytes | None) -> list[Any]:
    return ["ended", number, how, None if digest is None else digest.hex()]


def _readable(number: int, content: Iterable[Any]) -> list[Any]:
    """The content of an item as JSON."""
    return [number, *[value.hex() if isinstance(value, bytes) else value for value in content]]
