"""The rule by which the draws of one number stand: examples, and a slower twin that must say the same."""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.timeline.facts import FactTime
from app.timeline.number_rule import Draw, NumberStatement, judge
from app.timeline.receipts import NotKept
from tests.store.number_rule_twin import GONE, Told, standing

DESIGN = Path(__file__).parents[3] / "shared" / "design" / "number_rule.py"

MORNING, NOON, EVENING = 600, 960, 1200
NEXT_YEAR = 1440 * 365 + 600
THE_DAY = ("day", 0)

EXAMPLES: dict[str, tuple[list[Told], set[int], int]] = {
    "three draws under one order all stand": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "final", 20, None, 2), Told(EVENING, "final", 30, None, 3)],
        {1, 2, 3}, 0,
    ),
    "so they do if nobody says when they were issued": (
        [Told(time, "final", None, None, n) for n, time in enumerate((MORNING, NOON, EVENING), 1)], {1, 2, 3}, 0,
    ),
    "a number that is used again after a year is another result": (
        [Told(MORNING, "final", 10, None, 1), Told(NEXT_YEAR, "final", 900, None, 2)], {1, 2}, 0,
    ),
    "a correction at the same time stands": (
        [Told(MORNING, "final", 10, None, 1), Told(MORNING, "corrected", 20, None, 2)], {2}, 0,
    ),
    "a correction may move the time": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "corrected", 20, None, 2)], {2}, 0,
    ),
    "so may one that nobody dated": ([Told(MORNING, "final", value=1), Told(NOON, "corrected", value=2)], {2}, 0),
    "the time may be moved and moved back": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "corrected", 20, None, 2),
         Told(MORNING, "corrected", 30, None, 3)], {3}, 0,
    ),
    "what was moved is withdrawn at its new time": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "corrected", 20, None, 2),
         Told(NOON, "entered-in-error", 30)], set(), 0,
    ),
    "one is withdrawn, and a final result at another time is new": (
        [Told(MORNING, "final", 10, None, 1), Told(MORNING, "entered-in-error", 20),
         Told(NOON, "final", 20, None, 2)], {2}, 0,
    ),
    "a withdrawal and a correction issued together move the time": (
        [Told(MORNING, "final", 10, None, 1), Told(MORNING, "entered-in-error", 20),
         Told(NOON, "corrected", 20, None, 2)], {2}, 0,
    ),
    "so they do without a date": (
        [Told(MORNING, "final", value=1), Told(MORNING, "entered-in-error"), Told(NOON, "corrected", value=2)],
        {2}, 0,
    ),
    "of two draws, the withdrawn one is the one that was corrected": (
        [Told(MORNING, "final", 10, None, 1), Told(EVENING, "final", 12, None, 3),
         Told(MORNING, "entered-in-error", 20), Told(NOON, "corrected", 20, None, 2)], {2, 3}, 0,
    ),
    "a correction at a third time corrects nobody knows which draw": (
        [Told(MORNING, "final", 10, None, 1), Told(EVENING, "final", 12, None, 3),
         Told(NOON, "corrected", 20, None, 2)], {1, 3}, 1,
    ),
    "a draw that was cancelled and never had a result changes nothing": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "cancelled", 20)], {1}, 0,
    ),
    "an error that is withdrawn at a time without a result is a question": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "entered-in-error", 20)], {1}, 1,
    ),
    "a withdrawal without a date withdraws what has one": (
        [Told(MORNING, "final", 10, None, 1), Told(MORNING, "entered-in-error")], set(), 0,
    ),
    "a correction without a date corrects what has one": (
        [Told(MORNING, "final", 10, None, 1), Told(MORNING, "corrected", value=2)], {2}, 0,
    ),
    "a withdrawal without a specimen time takes the only draw": (
        [Told(MORNING, "final", 10, None, 1), Told(None, "entered-in-error")], set(), 0,
    ),
    "and none of two": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "final", 10, None, 2), Told(None, "entered-in-error")],
        {1, 2}, 1,
    ),
    "a date and a clock time of that day are one result, and the clock time is shown": (
        [Told(MORNING, "final", 10, None, 1), Told(THE_DAY, "final", 10, None, 2)], {1}, 0,
    ),
    "a date on a day with two clock times is a question": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "final", 11, None, 2), Told(THE_DAY, "final", 10, None, 3)],
        {1, 2}, 1,
    ),
    "a preliminary result at the time of the order gives way to the final one": (
        [Told(MORNING, "preliminary", 10, None, 1), Told(NOON, "final", 20, None, 2)], {2}, 0,
    ),
    "a preliminary second draw stands beside the first": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "preliminary", 20, None, 2)], {1, 2}, 0,
    ),
    "a second version may move the time": (
        [Told(MORNING, "final", None, 1, 1), Told(NOON, "final", None, 2, 2)], {2}, 0,
    ),
    "the first version of two draws and the second of one": (
        [Told(MORNING, "final", None, 1, 1), Told(NOON, "final", None, 1, 2), Told(NOON, "final", None, 2, 3)],
        {1, 3}, 0,
    ),
    "of a correction and a withdrawal without dates the withdrawal is the last word": (
        [Told(MORNING, "final", value=1), Told(MORNING, "corrected", value=2), Told(MORNING, "entered-in-error")],
        set(), 0,
    ),
    "issued later at another time and still final is a second result": (
        [Told(MORNING, "final", 10, None, 1), Told(NOON, "final", 20, None, 2)], {1, 2}, 0,
    ),
}  # fmt: skip


def statement(told: Told, received: int, **more: Any) -> NumberStatement:
    """The same statement as the service has it."""
    if told.time is None:
        when = FactTime(None, None)
    else:
        when = FactTime(told.time[1], None) if isinstance(told.time, tuple) else FactTime(told.time // 1440, told.time)
    return NumberStatement(when, told.version, told.issued, told.status, received, (received, 0, 0), **more)


def judged(received: dict[Told, int]) -> tuple[frozenset[Told], frozenset[Told]]:
    """What stands by the rule of the service, and what it sets aside."""
    stated = {statement(told, at): told for told, at in received.items()}
    ruling = judge(list(stated))
    shown = {stated[draw.stands] for draw in ruling.draws if draw.stands is not None and not draw.stands.withdraws}
    return frozenset(shown), frozenset(stated[each] for each in ruling.aside)


def orders(told: list[Told]) -> list[dict[Told, int]]:
    """When each was first received, for every order of arrival."""
    return [{one: 1000 + n for n, one in enumerate(order)} for order in itertools.permutations(told)]


@pytest.mark.parametrize("says", EXAMPLES)
def test_an_example_ends_in_one_state_whatever_the_order(says):
    told, values, ambiguous = EXAMPLES[says]
    for rule in (judged, standing):
        ends = {rule(received) for received in orders(told)}
        assert {frozenset(one.value for one in shown) for shown, _ in ends} == {frozenset(values)}
        assert {len(aside) for _, aside in ends} == {ambiguous}


STATUSES = st.sampled_from(["preliminary", "final", "final", "amended", "corrected", *GONE])
TIMES = st.sampled_from([2000, 2400, 2800, 4000, ("day", 1), ("day", 2)])
TOLD = st.builds(
    lambda time, status, issued, version, value, loose: Told(
        None if loose and status in GONE else time, status, issued, version, value
    ),
    TIMES,
    STATUSES,
    st.sampled_from([None, None, 10, 20, 30, 1001, 1003]),
    st.sampled_from([None, None, None, 1, 2, 3]),
    st.integers(1, 3),
    st.booleans(),
)
SETS = st.lists(TOLD, min_size=1, max_size=5, unique=True)


@given(SETS)
def test_the_rule_is_its_twin(told):
    for received in orders(told):
        assert judged(received) == standing(received)


@given(SETS)
def test_where_the_source_dates_what_it_says_the_order_of_arrival_does_not_matter(told):
    dated = {(one.version, one.issued, one.status) for one in told if one.issued is not None}
    if len(dated) == len(told):
        assert len({judged(received) for received in orders(told)}) == 1


@pytest.mark.skipif(not DESIGN.is_file(), reason="the design of the rule is not beside this project (shared/design)")
@given(SETS, st.data())
def test_the_rule_is_that_of_its_design(told, data):
    design = designed()
    short = {"preliminary": "P", "final": "F", "amended": "A", "corrected": "C", "cancelled": "X",
             "entered-in-error": "W"}  # fmt: skip
    received = data.draw(st.sampled_from(orders(told)))
    there = {
        design.S(("d", one.time[1]) if isinstance(one.time, tuple) else one.time, short[one.status], *one[2:]): one
        for one in told
    }
    shown, aside = design.standing({other: received[one] for other, one in there.items()})
    assert judged(received) == (frozenset(map(there.__getitem__, shown)), frozenset(map(there.__getitem__, aside)))


def designed() -> ModuleType:
    """The program of the design, read where it is."""
    found = importlib.util.spec_from_file_location("designed_number_rule", DESIGN)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def only(*stated: NumberStatement) -> Draw:
    """The only draw of these statements."""
    [draw] = judge(stated).draws
    return draw


def test_withdrawals_of_results_that_have_not_come_wait_each_at_its_time():
    waiting = [statement(Told(time, "entered-in-error"), 1) for time in (MORNING, NOON, None)]
    assert {draw.stands for draw in judge(waiting).draws} == set(waiting)


def test_what_a_command_left_out_keeps_its_rank():
    left_out = statement(Told(MORNING, "final", None, 2, 1), 1, left_out=True)
    assert only(left_out, statement(Told(MORNING, "final", None, 1, 2), 2)).stands is None
    newer = statement(Told(MORNING, "final", None, 3, 3), 3)
    assert only(left_out, newer).stands is newer


def test_what_a_command_placed_is_a_draw_of_its_own():
    first = statement(Told(MORNING, "final", 10, None, 1), 1)
    placed = statement(Told(NOON, "corrected", 20, None, 2), 2, placed=True)
    assert {draw.stands for draw in judge([first, placed]).draws} == {first, placed}


def test_an_event_without_an_onset_is_the_only_one_with_its_number():
    unknown, known = FactTime(None, None), FactTime(0, None)

    def event(when: FactTime, arrival: int, status: str = "final") -> NumberStatement:
        return NumberStatement(when, None, None, status, arrival, (arrival, 0, 0))

    without, dated, another = event(unknown, 1), event(known, 2), event(FactTime(9, None), 3)
    assert only(without, dated).stands is dated
    ruling = judge([without, dated, another])
    assert ruling.aside == {without: NotKept.AMBIGUOUS_DATE}
    withdrawn = event(known, 4, "entered-in-error")
    assert only(without, withdrawn).stands is withdrawn
