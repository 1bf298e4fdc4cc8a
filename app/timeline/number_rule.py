"""The number rule: which statements about one number stand.

A laboratory may use one number for several draws of blood: serial draws under one order, or the number again after a
year. All statements about a number are kept. What stands is a function of these statements and of the times at which
each was first received, so the order of arrival does not matter where versions and times of issue are given.

Statements of one minute form a cell, and the cells of one draw form the draw. Of each draw at most one statement
stands. The rules are numbered in the text of `judge`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from app.timeline.facts import (
    NEVER,
    AssessmentFact,
    EventFact,
    FactTime,
    InfusionFact,
    LabFact,
    MedicationFact,
    counts_nowhere,
    time_of,
)
from app.timeline.receipts import NotKept
from app.timeline.vocabulary import STATUS_ORDER, WITHDRAWN

Arrival = tuple[int, int, int]
"""When a statement was first received: its revision and, because a submission has no order, its time, then its place.
"""

_FIRM = STATUS_ORDER["amended"]
"""From this status on, a statement says that it is about an earlier one."""


@dataclass(slots=True, eq=False)
class NumberStatement:
    """One statement about a number.

    `when` is the time of the specimen. `received` is the time of the first receipt, which is needed only of a
    correction or withdrawal without version and time of issue. `left_out` says that an instruction withdrew the
    statement: it keeps its rank, and is not shown. `placed` says that an instruction stated it as a draw of its own.
    """

    when: FactTime
    version: int | None
    issued: int | None
    status: str
    received: int
    arrival: Arrival
    left_out: bool = False
    placed: bool = False
    rank: int = field(init=False)
    withdraws: bool = field(init=False)
    dated: bool = field(init=False)

    def __post_init__(self) -> None:
        self.rank = STATUS_ORDER[self.status]
        self.withdraws = self.status in WITHDRAWN
        self.dated = self.version is not None or self.issued is not None

    @property
    def order(self) -> tuple[int, int, int]:
        """The values that decide between two statements that have a version or a time of issue."""
        return (-1 if self.version is None else self.version, NEVER if self.issued is None else self.issued, self.rank)

    @property
    def said_at(self) -> int:
        """When the source said it: the time of issue. A correction without one counts as issued when received."""
        if self.issued is not None:
            return self.issued
        return self.received if self.rank >= _FIRM and self.version is None else NEVER

    @property
    def _last(self) -> tuple[bool, Arrival]:
        """What decides between equal statements: a clock time beats a bare date, then the later arrival."""
        return self.when.minute is not None, self.arrival


Cell = tuple[int, int]
"""The key of a cell: a minute (1), a date (0), or no time (-1)."""
_NO_TIME: Cell = (-1, 0)


@dataclass(slots=True, eq=False)
class Draw:
    """The statements of one draw. `stands` is the one that stands, which may be a withdrawal."""

    cells: list[Cell]
    values: list[NumberStatement]
    withdrawals: list[NumberStatement] = field(default_factory=list)
    stands: NumberStatement | None = None

    @property
    def members(self) -> list[NumberStatement]:
        """All statements of the draw."""
        return [*self.values, *self.withdrawals]


@dataclass(slots=True)
class Ruling:
    """The draws of a number, and the statements that are ambiguous. A statement may be in neither: it does nothing.

    `draw_of` has the draw of each statement that is in one.
    """

    draws: list[Draw]
    aside: dict[NumberStatement, NotKept] = field(default_factory=dict)
    draw_of: dict[NumberStatement, Draw] = field(init=False)

    def __post_init__(self) -> None:
        self.draw_of = {each: draw for draw in self.draws for each in draw.members}


def judge(statements: Sequence[NumberStatement]) -> Ruling:
    """Which statements of one number stand."""
    return _Number(statements).ruling()


class _Number:
    """The statements of one number, in cells."""

    def __init__(self, statements: Sequence[NumberStatement]) -> None:
        self.aside: dict[NumberStatement, NotKept] = {}
        self.cells: dict[Cell, list[NumberStatement]] = {}
        self.loose: list[NumberStatement] = []
        self.smallest: list[tuple[int, Cell]] = []
        self._place(statements, _Places(statements))

    def ruling(self) -> Ruling:
        """The draws, with the statement that stands in each."""
        draws = self._draws()
        if not draws:
            return Ruling(self._withdrawals_alone(), self.aside)
        if len(draws) > 1:  # 5: without a specimen time it takes the only draw
            self._set_aside(self.loose, NotKept.AMBIGUOUS_WITHDRAWAL)
        loose = self.loose if len(draws) == 1 else []
        for draw in draws:
            draw.withdrawals = [each for cell in draw.cells for each in self._withdrawals(cell)] + loose
            draw.stands = self._standing(draw, loose)
        self._hide_preliminary(draws)
        for stated in self.cells.values():
            if all(each.withdraws for each in stated):  # 5: at another time `cancelled` does nothing
                errors = [each for each in stated if each.status == "entered-in-error"]
                self._set_aside(errors, NotKept.AMBIGUOUS_WITHDRAWAL)
        return Ruling(draws, self.aside)

    def _place(self, statements: Iterable[NumberStatement], places: "_Places") -> None:
        """1: Statements of one minute form a cell."""
        for each in statements:
            cell = places.cell_of(each)
            if cell is not None:
                self.cells.setdefault(cell, []).append(each)
            elif each.when.day is None and each.withdraws:
                self.loose.append(each)
            else:
                reason = NotKept.AMBIGUOUS_WITHDRAWAL if each.withdraws else NotKept.AMBIGUOUS_DATE
                self._set_aside([each], reason)

    def _draws(self) -> list[Draw]:
        draws: list[Draw] = []
        orphans: list[Draw] = []
        versions = {
            cell: min(
                (each.version for each in stated if each.version is not None and not each.withdraws), default=None
            )
            for cell, stated in self.cells.items()
        }
        self.smallest = sorted((version, cell) for cell, version in versions.items() if version is not None)[:2]
        for cell in sorted(self.cells):
            values = [each for each in self.cells[cell] if not each.withdraws]
            if values:
                opened = any(self._opens(each, cell) for each in values)
                (draws if opened else orphans).append(Draw([cell], values))
        for orphan in sorted(orphans, key=_place_in_order):  # 3: only corrections and later versions
            self._join(orphan, draws)
        return draws

    def _opens(self, statement: NumberStatement, cell: Cell) -> bool:
        """2: A preliminary or final statement opens a draw, unless a smaller version stands at another time."""
        if statement.placed or statement.rank >= _FIRM:
            return statement.placed
        smallest = next((version for version, place in self.smallest if place != cell), None)
        return statement.version is None or smallest is None or smallest >= statement.version

    def _join(self, orphan: Draw, draws: list[Draw]) -> None:
        greatest = _greatest(orphan.values)
        candidates = [draw for draw in draws if any(_before(each, greatest) for each in draw.values)]
        if len(candidates) > 1:
            gone = [draw for draw in candidates if self._is_withdrawn(draw)]
            candidates = gone if len(gone) == 1 else candidates
        if not candidates:
            draws.append(orphan)
        elif len(candidates) == 1:
            candidates[0].cells += orphan.cells
            candidates[0].values += orphan.values
        else:
            self._set_aside(orphan.values, NotKept.AMBIGUOUS_CORRECTION)

    def _withdrawals(self, cell: Cell) -> list[NumberStatement]:
        return [each for each in self.cells[cell] if each.withdraws]

    def _is_withdrawn(self, draw: Draw) -> bool:
        greatest = _greatest(draw.values)
        return greatest.left_out or any(_outranks(each, greatest) for each in self._at_time_of(greatest, draw))

    def _at_time_of(self, statement: NumberStatement, draw: Draw) -> list[NumberStatement]:
        """The withdrawals in the cell of a statement."""
        return self._withdrawals(next(cell for cell in draw.cells if statement in self.cells[cell]))

    def _standing(self, draw: Draw, loose: list[NumberStatement]) -> NumberStatement | None:
        """4 and 5: The greatest statement, or the withdrawal at its time that outranks it."""
        greatest = _greatest(draw.values)
        applied = [each for each in (*self._at_time_of(greatest, draw), *loose) if _outranks(each, greatest)]
        if applied:
            return _last_of(applied)
        return None if greatest.left_out else greatest

    def _hide_preliminary(self, draws: list[Draw]) -> None:
        """6: A preliminary statement does not stand beside a firm one that is not older."""
        standing = [draw.stands for draw in draws if draw.stands is not None and not draw.stands.withdraws]
        firm = [each.said_at for each in standing if each.status != "preliminary"]
        for draw in draws:
            each = draw.stands
            if each is None or each.status != "preliminary" or not firm:
                continue
            if each.said_at == NEVER or max(firm) >= each.said_at:
                draw.stands = None

    def _withdrawals_alone(self) -> list[Draw]:
        """Withdrawals of results that have not come: each time is a draw without values."""
        alone = [Draw([cell], [], stated) for cell, stated in sorted(self.cells.items())]
        if self.loose:
            alone.append(Draw([_NO_TIME], [], self.loose))
        for draw in alone:
            draw.stands = _last_of(draw.withdrawals)
        return alone

    def _set_aside(self, statements: Iterable[NumberStatement], reason: NotKept) -> None:
        self.aside |= dict.fromkeys(statements, reason)


class _Places:
    """Where statements with a less precise time belong."""

    def __init__(self, statements: Sequence[NumberStatement]) -> None:
        values = [each.when for each in statements if not each.withdraws]
        self._minutes = {when.minute for when in values if when.minute is not None}
        self._of_day: dict[int, set[int]] = {}
        for when in values:
            if when.minute is not None and when.day is not None:
                self._of_day.setdefault(when.day, set()).add(when.minute)
        self._dates = {when.day for when in values if when.minute is None and when.day is not None}
        self._timeless = any(when.day is None for when in values)

    def cell_of(self, statement: NumberStatement) -> Cell | None:
        """The cell of a statement; `None` if its time is not precise enough, or if it has none."""
        when = statement.when
        if when.day is None:
            return None if statement.withdraws else self._cell_without_time()
        minutes = self._of_day.get(when.day, set())
        if when.minute is None:
            if len(minutes) > 1:
                return None
            cell = (1, next(iter(minutes))) if minutes else (0, when.day)
        elif statement.withdraws and when.minute not in self._minutes and not minutes and when.day in self._dates:
            cell = (0, when.day)  # the result is known only by its date
        else:
            cell = (1, when.minute)
        known_by_time = self._minutes or self._dates
        return _NO_TIME if statement.withdraws and self._timeless and not known_by_time else cell

    def _cell_without_time(self) -> Cell | None:
        """An event without an onset is about the only time that carries a value."""
        times = {(1, minute) for minute in self._minutes}
        times |= {(0, day) for day in self._dates if day not in self._of_day}
        if len(times) > 1:
            return None
        return next(iter(times), _NO_TIME)


def _place_in_order(orphan: Draw) -> tuple[int, int, Cell]:
    greatest = _greatest(orphan.values)
    return greatest.order[0], greatest.said_at, orphan.cells[0]


def _greatest(statements: Sequence[NumberStatement]) -> NumberStatement:
    """4: The greatest of statements that do not withdraw.

    Without version and time of issue, preliminary and final ones rank below all others. Amended and corrected ones
    rank above everything that was issued up to the last receipt of such a statement.
    """
    if len(statements) == 1:
        return statements[0]
    dated = [each for each in statements if each.dated]
    corrections = [each for each in statements if not each.dated and each.rank >= _FIRM]
    best = max(dated, key=lambda each: (each.order, each._last)) if dated else None
    if corrections:
        last = max(each.received for each in corrections)
        if best is None or best.issued is None or best.issued <= last:
            return max(corrections, key=lambda each: (each.rank, each._last))
    return best or max(statements, key=lambda each: (each.rank, each._last))


def _outranks(withdrawal: NumberStatement, other: NumberStatement) -> bool:
    """5: Without version and time of issue, a withdrawal outranks everything that was issued up to its receipt."""
    if withdrawal.dated and other.dated:
        return withdrawal.order > other.order
    if other.dated:
        return other.issued is None or other.issued <= withdrawal.received
    if withdrawal.dated:
        return other.rank < _FIRM or (withdrawal.issued is not None and withdrawal.issued >= other.received)
    return True


def _before(one: NumberStatement, other: NumberStatement) -> bool:
    """3: Whether a statement is not later than another one."""
    if one.version is not None and other.version is not None and one.version != other.version:
        return one.version < other.version
    return one.said_at <= other.said_at


def _last_of(withdrawals: Sequence[NumberStatement]) -> NumberStatement:
    return max(withdrawals, key=lambda each: (each.order[0], each.said_at, each._last))


AFact = TypeVar("AFact", LabFact, AssessmentFact, InfusionFact, MedicationFact, EventFact)
_LATER_THAN_ALL = 2**62


def standing(kind: str, *records: Sequence[AFact]) -> list[AFact]:
    """The facts of one person that stand, without those that are withdrawn. Each record has its statements.

    Of equal statements the first one stands. The times of receipt are not known here: a correction without version and
    time of issue is later than everything that was issued. A number that only one of several records has is not judged
    again.
    """
    of_fact: dict[str, list[tuple[int, AFact]]] = {}
    for record, facts in enumerate(records):
        for fact in facts:
            of_fact.setdefault(fact.identity, []).append((record, fact))
    found: list[AFact] = []
    for stated in of_fact.values():
        judged = len({record for record, _ in stated}) > 1 or len(records) == 1 < len(stated)
        found += _standing_of(kind, [fact for _, fact in stated]) if judged else [fact for _, fact in stated]
    return [fact for fact in found if not counts_nowhere(kind, fact)]


def _standing_of(kind: str, facts: Sequence[AFact]) -> list[AFact]:
    stated = {
        NumberStatement(
            time_of(kind, fact), fact.version, fact.issued, fact.status, _LATER_THAN_ALL, (-place, 0, 0)
        ): fact
        for place, fact in enumerate(facts)
    }
    return [stated[draw.stands] for draw in judge(list(stated)).draws if draw.stands is not None]
