"""The rules that decide which assertion of a fact stands. There is no SQL here.

An assertion is a fact with its version, time of issue and status. Of the assertions of one identity, the greatest one
stands, by (version, time of issue, status, arrival). No version is less than any version, and no time of issue less
than any time. An assertion that was stored before changes nothing when it arrives again. So a late retry of a result
does not undo its correction.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.timeline.facts import FIELDS, AttributeFact, Order, assertion_order
from app.timeline.normalize import SECTIONS
from app.timeline.receipts import AffectedFact, Disposition, Note, NoteCode, NotKept
from app.timeline.vocabulary import WITHDRAWN

Fact = tuple[Any, ...]
"""A NamedTuple of `timeline.facts`, or a plain tuple with the same values from the database."""

IDENTITY, VERSION, ISSUED, STATUS = 0, 3, 4, 5


@dataclass(slots=True, eq=False)
class Assertion:
    """One row of a fact table: a fact, the revision that added it, and the revision from which it no longer stands.

    `ordinal` numbers the assertions of one identity in one revision. `stored` is true if it was read from the database.
    `notes` is JSON text: what the receipt said of it.
    """

    fact: Fact
    added: int
    removed: int | None = None
    ordinal: int = 0
    stored: bool = False
    notes: str | None = None


@dataclass(slots=True)
class Changes:
    """What one revision did to one kind of facts of a patient.

    `removed` has only assertions that an earlier revision added.
    """

    added: list[Assertion] = field(default_factory=list)
    removed: list[Assertion] = field(default_factory=list)


class Counts(NamedTuple):
    """What happened to the assertions of a submission.

    Each assertion counts once: as `added` (the first of its fact, or the fact stands again), `superseded` (it took the
    place of another), `unchanged` (it stood already), `stale` (known, and superseded since), `late` (new, but a greater
    one had arrived before) or `repeats` (equal to another one in the same document). `unversioned_corrections` are
    those of `superseded` for which only the order of arrival decided. `withdrawn` counts facts that were visible
    before the submission and are not visible after it.
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
    """The same counts while the submission is processed."""

    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    stale: int = 0
    late: int = 0
    repeats: int = 0
    unversioned_corrections: int = 0
    withdrawn: int = 0

    def counts(self) -> Counts:
        """The counts up to now."""
        return Counts(self.added, self.superseded, self.unchanged, self.stale, self.late, self.repeats,
                      self.unversioned_corrections, self.withdrawn)  # fmt: skip


class Fate(NamedTuple):
    """What the ledger did with one fact of a history; `at` is its index among the facts of its kind there."""

    kind: str
    at: int
    disposition: Disposition
    reason: NotKept | None = None
    notes: tuple[Note, ...] = ()
    affects: tuple[AffectedFact, ...] = ()


def order(fact: Fact) -> Order:
    """The values that decide between two assertions of one identity. If they are equal, arrival decides."""
    return assertion_order(fact[VERSION], fact[ISSUED], fact[STATUS])


def standing(assertions: Iterable[Assertion]) -> Assertion | None:
    """The assertion that stands; `None` if a timeline that was put left the fact out."""
    return next((assertion for assertion in assertions if assertion.removed is None), None)


def fates(
    kind: str, facts: Sequence[Fact], known: Mapping[str, Sequence[Assertion]], number: int, before: frozenset[int]
) -> Iterator[Fate]:
    """What revision `number` did with each of these facts, after they were applied. Facts without a fate are new and
    stand, and changed nothing else.

    `before` has the `id()` of each assertion that stood before.
    """
    notable = [
        (i, fact)
        for i, fact in enumerate(facts)
        if len(known[fact[IDENTITY]]) > 1 or known[fact[IDENTITY]][0].fact is not fact
    ]
    last = {fact[IDENTITY]: i for i, fact in notable}
    for i, fact in notable:
        assertions = known[fact[IDENTITY]]
        affects = tuple(_affected(kind, facts, assertions, before)) if last[fact[IDENTITY]] == i else ()
        equal = [assertion for assertion in assertions if assertion.fact == fact]
        earlier = any(assertion.added < number for assertion in equal)
        if any(assertion.removed is None for assertion in equal):
            unchanged = any(id(assertion) in before for assertion in equal if assertion.removed is None)
            yield Fate(kind, i, Disposition.KEPT, None, (Note(NoteCode.UNCHANGED),) if unchanged else (), affects)
        elif earlier:
            yield Fate(kind, i, Disposition.NOT_APPLIED, NotKept.STALE, (), affects)
        else:
            current = standing(assertions)
            together = current is not None and current.added == number
            reason = NotKept.SUPERSEDED if together else NotKept.OLDER
            yield Fate(kind, i, Disposition.NOT_APPLIED, reason, (), affects)


def _affected(
    kind: str, facts: Sequence[Fact], assertions: Sequence[Assertion], before: frozenset[int]
) -> Iterator[AffectedFact]:
    """The facts of one identity that count or no longer count, without those that were sent."""
    for assertion in assertions:
        stood, stands = id(assertion) in before, assertion.removed is None
        if stood != stands and assertion.fact[STATUS] not in WITHDRAWN and assertion.fact not in facts:
            yield affected_fact(kind, assertion.fact, stands=stands)


def affected_fact(kind: str, fact: Fact, *, stands: bool) -> AffectedFact:
    """A fact as a receipt names it."""
    values = dict(zip((field.name for field in FIELDS[kind]), fact, strict=True))
    time = values.get("time") or values.get("onset")
    return AffectedFact(SECTIONS.get(kind, "patient"), values.get("code"), time, stands)


def merge(
    known: dict[str, list[Assertion]], facts: Iterable[Fact], number: int, changes: Changes, tally: Tally
) -> None:
    """Apply facts that arrive in revision `number` to the known assertions of each identity."""
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
    """Apply the facts of a timeline that replaces the stored one.

    The client has read the stored timeline before, so this is not a late retry: an assertion that was stored before may
    stand again. But an assertion that its source puts before the standing one, by `order`, does not stand. This does
    not hold for attributes: a document shows no order of them, so the attribute that is put stands. A fact that the
    timeline leaves out is withdrawn, unless its source withdrew it: then the client did not see it.
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
            _keep_below(assertions, fact, number, changes, tally)
    for identity, assertions in known.items():
        current = standing(assertions)
        if identity not in stated and current is not None and current.fact[STATUS] not in WITHDRAWN:
            _close(current, number, changes)
            tally.withdrawn += 1


def _as_issued(fact: Fact, assertions: Sequence[Assertion]) -> Fact:
    """The fact; an attribute without a time of issue gets the time of the known assertion.

    So a document that was read and is put again is the same, and what the source issues later is newer.
    """
    if not isinstance(fact, AttributeFact) or fact.issued is not None or not assertions:
        return fact
    return fact._replace(issued=_greatest(assertions).fact[ISSUED])


def _greatest(assertions: Sequence[Assertion]) -> Assertion:
    """The assertion that stands or, if none stands, the greatest one."""
    return standing(assertions) or max(assertions, key=lambda known: (order(known.fact), known.added, known.ordinal))


def _assert(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    current = standing(assertions)
    if current is not None and current.fact == fact:
        tally.unchanged += 1
        return
    if order(fact) < order(_greatest(assertions).fact) or any(known.fact == fact for known in assertions):
        _keep_below(assertions, fact, number, changes, tally)
    elif current is None:
        _stand(assertions, fact, number, changes)
        tally.added += 1
    else:
        _supersede(assertions, current, fact, number, changes, tally)


def _stand(assertions: list[Assertion], fact: Fact, number: int, changes: Changes) -> Assertion:
    ordinal = sum(1 for known in assertions if known.added == number)
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


def _keep_below(assertions: list[Assertion], fact: Fact, number: int, changes: Changes, tally: Tally) -> None:
    """Keep an assertion that does not stand: a known one is stale, a new one is stored as late."""
    if any(known.fact == fact for known in assertions):
        tally.stale += 1
    else:
        _stand(assertions, fact, number, changes).removed = number
        tally.late += 1


def _close(assertion: Assertion, number: int, changes: Changes) -> None:
    assertion.removed = number
    if assertion.added < number:
        changes.removed.append(assertion)
