"""The fate of each fact of a submission: whether it stands, why not, and which other facts stand or fall because of it.

It is read from the assertions after `supersession` applied the facts. There is no SQL here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from app.store.supersession import (
    AMBIGUOUS,
    IDENTITY,
    ISSUED,
    STATUS,
    VERSION,
    Assertion,
    Fact,
    RuleMark,
    Tally,
    visible,
)
from app.timeline.facts import FIELDS, VALUE_PLACE, counts_nowhere
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import AffectedFact, Disposition, Note, NoteCode, NotKept
from app.timeline.vocabulary import WITHDRAWN

_UNCHANGED = (Note(NoteCode.UNCHANGED),)
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
    return {
        fact[IDENTITY]: [each.fact for each in visible(kind, assertions)]
        for fact in facts
        if (assertions := known.get(fact[IDENTITY]))
    }


def fates(
    kind: str,
    facts: Sequence[Fact],
    known: Mapping[str, Sequence[Assertion]],
    number: int,
    before: Mapping[str, Sequence[Fact]],
    tally: Tally,
) -> Iterator[Fate]:
    """What revision `number` did with each of these facts, after they were applied. Facts without a fate are new and
    stand, and changed nothing else.

    `before` is what was `shown` before.
    """
    last = {fact[IDENTITY]: i for i, fact in enumerate(facts)}
    value = VALUE_PLACE[kind]
    for i, fact in enumerate(facts):
        assertions = known[fact[IDENTITY]]
        alone = len(assertions) == 1 and assertions[0].fact is fact
        if alone and fact[STATUS] in _PLAIN and (value is None or fact[value] is not None):
            continue
        counted = value is None or fact[value] is not None or fact[STATUS] in WITHDRAWN
        if counted and len(assertions) == 1 and assertions[0].added < number and assertions[0].removed is None:
            yield Fate(kind, i, Disposition.KEPT, None, _UNCHANGED)
            continue
        affects: tuple[AffectedFact, ...] = ()
        if not alone and last[fact[IDENTITY]] == i:
            affects = tuple(_affected(kind, facts, assertions, before.get(fact[IDENTITY], ())))
        fate = _fate(kind, i, fact, assertions, number, before.get(fact[IDENTITY], ()), tally)
        if fate[2:5] != (Disposition.KEPT, None, ()) or affects:
            yield fate._replace(affects=affects)


def _fate(
    kind: str,
    at: int,
    fact: Fact,
    assertions: Sequence[Assertion],
    number: int,
    before: Sequence[Fact],
    tally: Tally,
) -> Fate:
    mine = [each for each in assertions if each.fact == fact or _is_put_again(kind, each.fact, fact)]
    standing = next((each for each in mine if each.removed is None), None)
    earlier = any(each.added < number for each in mine)
    if standing is not None:
        if fact[STATUS] not in WITHDRAWN and counts_nowhere(kind, fact):
            return Fate(kind, at, Disposition.SET_ASIDE, NotKept.NOT_A_NUMBER)
        if earlier and (fact in before or standing.added < number):
            return Fate(kind, at, Disposition.KEPT, None, _UNCHANGED)
        notes = _ranked_by_receipt(kind, standing) + tuple(tally.notes.get(id(fact), ()))
        return Fate(kind, at, Disposition.KEPT, None, notes)
    aside = next((each.mark for each in mine if each.mark in AMBIGUOUS), None)
    if aside is not None:
        return Fate(kind, at, Disposition.SET_ASIDE, NotKept(aside))
    return Fate(kind, at, Disposition.NOT_APPLIED, _why_not(mine[-1], assertions, number, earlier))


def _is_put_again(kind: str, known: Fact, fact: Fact) -> bool:
    """Whether an attribute that was put, which has no time of issue, is this one."""
    return (
        kind == "attributes"
        and fact[ISSUED] is None
        and (*known[:ISSUED], *known[STATUS:])
        == (
            *fact[:ISSUED],
            *fact[STATUS:],
        )
    )


def _why_not(mine: Assertion, assertions: Sequence[Assertion], number: int, earlier: bool) -> NotKept:
    if earlier:
        return NotKept.STALE
    others = [each for each in assertions if each.draw == mine.draw and each is not mine]
    if mine.fact[STATUS] in WITHDRAWN and all(each.fact[STATUS] in WITHDRAWN for each in others):
        return NotKept.NO_RESULT
    current = next((each.fact for each in others if each.removed is None), None)
    together = current is not None and all(each.added == number for each in others if each.fact == current)
    return NotKept.SUPERSEDED if together else NotKept.OLDER


def _ranked_by_receipt(kind: str, assertion: Assertion) -> tuple[Note, ...]:
    fact = assertion.fact
    ranked = fact[VERSION] is None and fact[ISSUED] is None and fact[STATUS] not in _PLAIN
    if kind == "attributes" or not ranked or assertion.mark == RuleMark.DELETED:
        return ()
    return (Note(NoteCode.ISSUED_FROM_RECEIPT),)


def _affected(
    kind: str, facts: Sequence[Fact], assertions: Sequence[Assertion], before: Sequence[Fact]
) -> Iterator[AffectedFact]:
    """The facts of one identity that count or no longer count, without those that were sent."""
    now = [each.fact for each in visible(kind, assertions)]
    for fact in before:
        if fact not in now and fact not in facts:
            yield affected_fact(kind, fact, stands=False)
    for fact in now:
        if fact not in before and fact not in facts:
            yield affected_fact(kind, fact, stands=True)


def affected_fact(kind: str, fact: Fact, *, stands: bool) -> AffectedFact:
    """A fact as a receipt names it."""
    values = dict(zip((field.name for field in FIELDS[kind]), fact, strict=True))
    time = values.get("time") or values.get("onset")
    return AffectedFact(SECTIONS.get(kind, "patient"), values.get("code"), time, stands)
