"""Which assertion of a fact stands: the rules of the ledger, free of SQL.

An assertion is a fact with its version, issue time and status. Of the assertions of one identity the greatest stands,
by (version, issue time, status, arrival); an absent version or issue time is less than any. One that was ever stored
changes nothing when it arrives again, so that a late retry of a result does not undo its correction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.timeline.facts import AttributeFact, Order, assertion_order
from app.timeline.vocabulary import WITHDRAWN

Fact = tuple[Any, ...]
"""A NamedTuple of `timeline.facts`, or the same values as a database gives them back."""

IDENTITY, VERSION, ISSUED, STATUS = 0, 3, 4, 5


@dataclass(slots=True, eq=False)
class Assertion:
    """One row of a fact: the revision that added it and the one from which it no longer stands."""

    fact: Fact
    added: int
    removed: int | None = None
    ordinal: int = 0
    stored: bool = False


@dataclass(slots=True)
class Changes:
    """What one revision did to one kind of a patient's facts; `removed` holds those that an earlier revision had
    added.
    """

    added: list[Assertion] = field(default_factory=list)
    removed: list[Assertion] = field(default_factory=list)


class Counts(NamedTuple):
    """What became of the assertions of a submission.

    Each one received is one of `added` (first of its fact, or standing again), `superseded` (took the place of
    another), `unchanged` (stands already), `stale` (known and superseded since), `late` (new, but superseded by what
    had arrived before) and `repeats` (the same as another in its document). `unversioned_corrections` are those of
    `superseded` that neither version, issue time nor status decided, but arrival. `withdrawn` counts facts that were
    visible before and are not after.
    """

    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    stale: int = 0
    late: int = 0
    repeats: int = 0
    unversioned_corrections: int = 0
    withdrawn: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name, in a fixed order."""
        return self._asdict()


@dataclass(slots=True)
class Tally:
    """Counts while they are being counted."""

    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    stale: int = 0
    late: int = 0
    repeats: int = 0
    unversioned_corrections: int = 0
    withdrawn: int = 0

    def counts(self) -> Counts:
        """What was counted."""
        return Counts(self.added, self.superseded, self.unchanged, self.stale, self.late, self.repeats,
                      self.unversioned_corrections, self.withdrawn)  # fmt: skip


def order(fact: Fact) -> Order:
    """What decides between two assertions of one identity, before arrival does."""
    return assertion_order(fact[VERSION], fact[ISSUED], fact[STATUS])


def standing(assertions: Iterable[Assertion]) -> Assertion | None:
    """The assertion that stands; none does where a replaced timeline left the fact out."""
    return next((one for one in assertions if one.removed is None), None)


def merge(
    known: dict[str, list[Assertion]], facts: Iterable[Fact], number: int, changes: Changes, tally: Tally
) -> None:
    """Facts that arrive, in revision `number`, beside what is known of each identity."""
    for fact in facts:
        identity = fact[IDENTITY]
        assertions = known.get(identity)
        if assertions:
            _assert(assertions, fact, number, changes, tally)
        else:
            known[identity] = fresh = [Assertion(fact, number)]
            changes.added += fresh
            tally.added += 1


def replace(
    known: dict[str, list[Assertion]], facts: Iterable[Fact], number: int, changes: Changes, tally: Tally
) -> None:
    """The facts that a timeline now consists of.

    A client that replaces has read what stands, so a late retry need not be feared: what was stored before may stand
    again. Only an assertion that the source itself orders before the standing one stays behind it; of the patient's
    attributes a document shows no order, so that one that is put stands. What is left out is withdrawn; what its source
    withdrew is not shown to the client and therefore not left out by it.
    """
    stated = set()
    for given in facts:
        stated.add(given[IDENTITY])
        assertions = known.setdefault(given[IDENTITY], [])
        current = standing(assertions)
        fact = _as_issued(given, assertions)
        if current is not None and current.fact == fact:
            tally.unchanged += 1
        elif current is None:
            _stand(assertions, fact, number, changes)
            tally.added += 1
        elif isinstance(fact, AttributeFact) or order(fact) >= order(current.fact):
            _supersede(assertions, current, fact, number, changes, tally)
        else:
            _pass_by(assertions, fact, number, changes, tally)
    for identity, assertions in known.items():
        current = standing(assertions)
        if identity not in stated and current is not None and current.fact[STATUS] not in WITHDRAWN:
            _close(current, number, changes)
            tally.withdrawn += 1


def _as_issued(fact: Fact, assertions: Sequence[Assertion]) -> Fact:
    """The fact with the issue time of what is known of it, where it is an attribute that came without one.

    So what was read is the same when it is put again, and what is put now is older than what its source issues later.
    """
    if not isinstance(fact, AttributeFact) or fact.issued is not None or not assertions:
        return fact
    return fact._replace(issued=_greatest(assertions).fact[ISSUED])


def _greatest(assertions: Sequence[Assertion]) -> Assertion:
    """The assertion that stands or, where none does, the one that would."""
    return standing(assertions) or max(assertions, key=lambda one: (order(one.fact), one.added, one.ordinal))


def _assert(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    current = standing(assertions)
    if current is not None and current.fact == fact:
        tally.unchanged += 1
        return
    if order(fact) < order(_greatest(assertions).fact) or any(one.fact == fact for one in assertions):
        _pass_by(assertions, fact, number, changes, tally)
    elif current is None:
        _stand(assertions, fact, number, changes)
        tally.added += 1
    else:
        _supersede(assertions, current, fact, number, changes, tally)


def _stand(assertions: list[Assertion], fact: Fact, number: int, changes: Changes) -> Assertion:
    ordinal = sum(1 for one in assertions if one.added == number)
    assertion = Assertion(fact, number, ordinal=ordinal)
    assertions.append(assertion)
    changes.added.append(assertion)
    return assertion


def _supersede(
    assertions: list[Assertion], current: Assertion, fact: Fact, number: int, changes: Changes, tally: Tally
) -> None:
    tally.superseded += 1
    tally.unversioned_corrections += order(fact) == order(current.fact)
    tally.withdrawn += fact[STATUS] in WITHDRAWN and current.fact[STATUS] not in WITHDRAWN
    _close(current, number, changes)
    _stand(assertions, fact, number, changes)


def _pass_by(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    """An assertion that does not stand: known ones are stale, a new one is stored for the record."""
    if any(one.fact == fact for one in assertions):
        tally.stale += 1
    else:
        _stand(assertions, fact, number, changes).removed = number
        tally.late += 1


def _close(assertion: Assertion, number: int, changes: Changes) -> None:
    assertion.removed = number
    if assertion.added < number:
        changes.removed.append(assertion)
