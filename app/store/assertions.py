"""Assertions: the rows of the fact tables, and what one revision did to them. There is no SQL here.

An assertion is a fact with its version, time of issue and status, and the revisions from and until which it stands.
`supersession` decides which assertions stand.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from app.timeline.facts import Order, assertion_order, counts_nowhere
from app.timeline.receipts import Note, NotKept

Fact = tuple[Any, ...]
"""A NamedTuple of `timeline.facts`, or a plain tuple with the same values from the database."""

IDENTITY, VERSION, ISSUED, STATUS = 0, 3, 4, 5


class RuleMark(StrEnum):
    """What the number rule must know of an assertion, beside the fact. The marks of ambiguous ones are `NotKept`.

    `left_out`: a timeline that was put does not have it. It keeps its rank, and does not stand. `replaced`: an
    instruction put another statement in its place. It is no statement of its number any more. `overwritten`: the first
    release let another draw stand in its place. It is no statement either, until it is sent again. `deleted`: a DELETE
    is stored as this withdrawal. `placed`: an instruction stated it as a draw of its own.
    """

    LEFT_OUT = "left_out"
    REPLACED = "replaced"
    OVERWRITTEN = "overwritten"
    DELETED = "deleted"
    PLACED = "placed"
    PLACED_LEFT_OUT = "placed_left_out"


AMBIGUOUS: frozenset[str] = frozenset(
    {NotKept.AMBIGUOUS_DATE, NotKept.AMBIGUOUS_CORRECTION, NotKept.AMBIGUOUS_WITHDRAWAL}
)
"""The marks of assertions that do not stand because it is not clear to which draw they belong."""


@dataclass(slots=True, eq=False)
class Assertion:
    """One row of a fact table: a fact, the revision that added it, and the revision from which it no longer stands.

    `ordinal` numbers the assertions of one identity in one revision. `stored` is true if it was read from the database.
    `notes` is JSON text: what the receipt said of it. `draw` names the draw of its number to which it belongs: of the
    assertions of one draw, at most one stands. `mark` is a `RuleMark` or one of `AMBIGUOUS`.
    """

    fact: Fact
    added: int
    removed: int | None = None
    ordinal: int = 0
    stored: bool = False
    notes: str | None = None
    draw: str = ""
    mark: str | None = None


@dataclass(slots=True)
class Changes:
    """What one revision did to one kind of facts of a patient.

    `removed` has only assertions that an earlier revision added. `marked` has those of them that got another mark; each
    has the mark that it had.
    """

    added: list[Assertion] = field(default_factory=list)
    removed: list[Assertion] = field(default_factory=list)
    marked: dict[Assertion, str | None] = field(default_factory=dict)


class Revision(NamedTuple):
    """The revision that is being made, and the time of receipt of each revision up to it."""

    number: int
    received: Callable[[int], int]


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
    """The same counts while the submission is processed.

    `draws` has the draw of each fact, by kind and identity, if it is not the usual one (an empty text). `notes` are
    what the rule says of a fact, by its `id()`. `changed` says that something stands or does not stand any more.
    """

    added: int = 0
    superseded: int = 0
    unchanged: int = 0
    stale: int = 0
    late: int = 0
    repeats: int = 0
    unversioned_corrections: int = 0
    withdrawn: int = 0
    draws: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: dict[int, list[Note]] = field(default_factory=dict)
    changed: bool = False

    def counts(self) -> Counts:
        """The counts up to now."""
        return Counts(self.added, self.superseded, self.unchanged, self.stale, self.late, self.repeats,
                      self.unversioned_corrections, self.withdrawn)  # fmt: skip


def order(fact: Fact) -> Order:
    """The version, time of issue and rank of the status."""
    return assertion_order(fact[VERSION], fact[ISSUED], fact[STATUS])


def standing(assertions: Iterable[Assertion]) -> Assertion | None:
    """The assertion of an attribute that stands; `None` if a timeline that was put left it out."""
    return next((assertion for assertion in assertions if assertion.removed is None), None)


def visible(kind: str, assertions: Iterable[Assertion]) -> list[Assertion]:
    """The assertions that stand and that clients and analyses see."""
    return [each for each in assertions if each.removed is None and not counts_nowhere(kind, each.fact)]
