"""The fate of each fact of a submission: whether it stands, why not, and which other facts stand or fall because of it.

It is read from the assertions after `supersession` applied the facts. There is no SQL here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from app.store.assertions import (
    AMBIGUOUS,
    IDENTITY,
    ISSUED,
    STATUS,
    VERSION,
    Assertion,
    Fact,
    RuleMark,
    visible,
)
from app.timeline.facts import FIELDS, VALUE_PLACE, counts_nowhere
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import AffectedFact, Disposition, Note, NoteCode, NotKept
from app.timeline.vocabulary import WITHDRAWN

RuleNotes = Mapping[int, Sequence[Note]]
"""What the rule says of facts, by their `id()`."""

_UNCHANGED = (Note(NoteCode.UNCHANGED),)
_REPEATED = (Note(NoteCode.REPEATED),)
_PLAIN = {"preliminary", "final"}


class Fate(NamedTuple):
    """What the ledger did with one fact of a history; `at` is its index among the facts of its kind there."""

    kind: str
    at: int
    disposition: Disposition
    reason: NotKept | None = None
    notes: tuple[Note, ...] = ()
    affects: tuple[AffectedFact, ...] = ()


def shown(kind: str, facts: Iterable[Fact], known: Mapping[str, Sequence[Assertion]]) -> dict[str, list[Fact]]:
    """What clients and analyses see of the identities of these facts, if anything is known of them."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        identity = fact[IDENTITY]
        if identity not in found and (assertions := known.get(identity)):
            found[identity] = [each.fact for each in visible(kind, assertions)]
    return found


def fates(
    kind: str,
    facts: Sequence[Fact],
    known: Mapping[str, Sequence[Assertion]],
    number: int,
    before: Mapping[str, Sequence[Fact]],
    notes: RuleNotes,
) -> Iterator[Fate]:
    """What revision `number` did with each of these facts, after all of them were applied. Facts without a fate are new
    and stand, and changed nothing else.

    `before` is what was `shown` before, `notes` what the rule said.
    """
    last: dict[str, int] = {}
    value = VALUE_PLACE[kind]
    together: dict[str, _Together] = {}
    for i, fact in enumerate(facts):
        identity = fact[IDENTITY]
        assertions = known[identity]
        if len(assertions) == 1:
            counted = value is None or fact[value] is not None or fact[STATUS] in WITHDRAWN
            counted = counted and assertions[0].removed is None  # a link may have been turned round before
            if counted and assertions[0].fact is fact and fact[STATUS] in _PLAIN:
                continue
            if counted and assertions[0].added < number:
                yield Fate(kind, i, Disposition.KEPT, None, _UNCHANGED)
                continue
        last = last or {other[IDENTITY]: at for at, other in enumerate(facts)}
        mine = together.get(identity)
        alone = mine is None and last[identity] == i
        if alone and len(assertions) == 2 and _is_plain_correction(kind, fact, assertions[0], assertions[1], number):
            ended = affected_fact(kind, assertions[0].fact, stands=False)
            yield Fate(kind, i, Disposition.KEPT, None, tuple(notes.get(id(fact), ())), (ended,))
            continue
        if mine is None:
            mine = together[identity] = _Together(kind, assertions, before.get(identity, ()), number)
        fate = mine.fate(i, fact, notes)
        if last[identity] == i:
            fate = fate._replace(affects=tuple(mine.affected()))
        if fate[2:] != (Disposition.KEPT, None, (), ()):
            yield fate


def are_plain(kind: str, facts: Sequence[Fact], known: Mapping[str, Sequence[Assertion]]) -> bool:
    """Whether all facts of a new patient count, and none is stated twice: then they have no fates."""
    value = VALUE_PLACE[kind]
    return (
        len(known) == len(facts)
        and _PLAIN.issuperset([fact[STATUS] for fact in facts])
        and (value is None or None not in [fact[value] for fact in facts])
        and (kind != "attributes" or all(each.removed is None for stated in known.values() for each in stated))
    )


def counting(kind: str, facts: Sequence[Fact], found: Iterable[Fate]) -> dict[int, Fact]:
    """The facts by their places, without those that do not count, that are stated again, or that stood before."""
    kept = dict(enumerate(facts))
    for fate in found:
        if fate.kind == kind and (fate.disposition is not Disposition.KEPT or fate.notes in (_REPEATED, _UNCHANGED)):
            del kept[fate.at]
    return kept


def with_notes(kind: str, found: Sequence[Fate], notes: Iterable[tuple[int, Note]]) -> list[Fate]:
    """The fates with further notes about facts that are new and kept."""
    places = {fate.at: place for place, fate in enumerate(found) if fate.kind == kind}
    noted = list(found)
    same: dict[tuple[Note, ...], tuple[Note, ...]] = {}  # thousands of facts have equal notes
    for at, note in notes:
        place = places.setdefault(at, len(noted))
        if place == len(noted):
            noted.append(Fate(kind, at, Disposition.KEPT))
        fate = noted[place]
        if fate.disposition is Disposition.KEPT:
            said = (*fate.notes, note)
            noted[place] = fate._replace(notes=same.setdefault(said, said))
    return noted


class _Together:
    """All assertions of one identity, after revision `number`, and what was shown of them before."""

    def __init__(self, kind: str, assertions: Sequence[Assertion], before: Sequence[Fact], number: int) -> None:
        self.kind, self.number = kind, number
        self.before = dict.fromkeys(before)
        self.now = dict.fromkeys(each.fact for each in visible(kind, assertions))
        self.assertions = assertions
        self.sent: set[Fact] = set()
        self.of_fact: dict[Fact, list[Assertion]] = {}
        self.of_draw: dict[str, list[Assertion]] = {}
        for each in assertions:
            self.of_fact.setdefault(each.fact, []).append(each)
            self.of_draw.setdefault(each.draw, []).append(each)

    def fate(self, at: int, fact: Fact, said: RuleNotes) -> Fate:
        """What happened to one of the facts that were sent."""
        self.sent.add(fact)
        mine = self.of_fact.get(fact) or [each for each in self.assertions if _is_put_again(each.fact, fact)]
        standing = next((each for each in mine if each.removed is None), None)
        earlier = any(each.added < self.number for each in mine)
        if standing is not None:
            if fact[STATUS] not in WITHDRAWN and counts_nowhere(self.kind, fact):
                again = tuple(note for note in said.get(id(fact), ()) if note in _UNCHANGED)
                return Fate(self.kind, at, Disposition.SET_ASIDE, NotKept.NOT_A_NUMBER, again)
            if earlier and (fact in self.before or standing.added < self.number):
                return Fate(self.kind, at, Disposition.KEPT, None, _UNCHANGED)
            if not earlier and standing.fact is not fact and standing.fact == fact:
                return Fate(self.kind, at, Disposition.KEPT, None, _REPEATED)
            notes = _ranked_by_receipt(self.kind, standing) + tuple(said.get(id(fact), ()))
            return Fate(self.kind, at, Disposition.KEPT, None, notes)
        aside = next((each.mark for each in mine if each.mark in AMBIGUOUS), None)
        if aside is not None:
            return Fate(self.kind, at, Disposition.SET_ASIDE, NotKept(aside))
        return Fate(self.kind, at, Disposition.NOT_APPLIED, NotKept.STALE if earlier else self._why_not(mine[-1]))

    def _why_not(self, mine: Assertion) -> NotKept:
        """Why a new assertion does not stand."""
        others = [each for each in self.of_draw[mine.draw] if each is not mine]
        if mine.fact[STATUS] in WITHDRAWN and all(each.fact[STATUS] in WITHDRAWN for each in others):
            return NotKept.NO_RESULT
        current = next((each.fact for each in others if each.removed is None), None)
        together = current is not None and all(each.added == self.number for each in self.of_fact[current])
        return NotKept.SUPERSEDED if together else NotKept.OLDER

    def affected(self) -> Iterator[AffectedFact]:
        """The facts that count or no longer count, without those that were sent."""
        changed = [(fact, False) for fact in self.before if fact not in self.now]
        changed += [(fact, True) for fact in self.now if fact not in self.before]
        for fact, stands in changed:
            if fact not in self.sent:
                yield affected_fact(self.kind, fact, stands=stands)


def _is_plain_correction(kind: str, fact: Fact, old: Assertion, new: Assertion, number: int) -> bool:
    """Whether a fact took the place of the only other one: the usual correction, which needs no more thought."""
    return (
        new.fact is fact
        and new.removed is None
        and old.removed == number != old.added
        and not counts_nowhere(kind, old.fact)
        and not counts_nowhere(kind, fact)
        and not _ranked_by_receipt(kind, new)
    )


def _is_put_again(known: Fact, fact: Fact) -> bool:
    """Whether an attribute that was put, which has no time of issue, is this one."""
    return (*known[:ISSUED], *known[STATUS:]) == (*fact[:ISSUED], *fact[STATUS:])


def _ranked_by_receipt(kind: str, assertion: Assertion) -> tuple[Note, ...]:
    fact = assertion.fact
    ranked = fact[VERSION] is None and fact[ISSUED] is None and fact[STATUS] not in _PLAIN
    if kind == "attributes" or not ranked or assertion.mark == RuleMark.DELETED:
        return ()
    return (Note(NoteCode.ISSUED_FROM_RECEIPT),)


def affected_fact(kind: str, fact: Fact, *, stands: bool) -> AffectedFact:
    """A fact as a receipt names it."""
    section, code, time = _NAMED[kind]
    return AffectedFact(
        section, None if code is None else fact[code], None if time is None else (fact[time] or None), stands
    )


def _place(kind: str, *names: str) -> int | None:
    return next((place for place, field in enumerate(FIELDS[kind]) if field.name in names), None)


_NAMED = {kind: (SECTIONS.get(kind, "patient"), _place(kind, "code"), _place(kind, "time", "onset")) for kind in FIELDS}
"""For each kind: its section, and the places of code and time in its facts."""
