"""Who is admitted when many come at once, and what one body may hold."""

import time

import pytest

from app.access.admission import Admission
from app.access.budget import Budget
from app.errors import Busy, TooLarge
from app.readers.budget import MOST_LINES, MOST_ROWS, MOST_VALUES, VALUES, ReadingTime


def test_bytes_of_others_leave_no_room_and_a_body_alone_has_room():
    admission = Admission(4, 100)
    first = admission.enter(500)
    first.arrive(500, complete=False)
    with pytest.raises(Busy):
        admission.enter(1)
    assert admission.enter(0) is not None
    first.leave()
    admission.enter(90).arrive(90, complete=True)
    second = admission.enter(0)  # it does not say how long its body is
    second.arrive(10, complete=False)
    with pytest.raises(Busy):
        second.arrive(1, complete=False)
    second.leave()
    assert (admission.size, admission.bodies) == (90, 1)


def test_a_body_takes_its_place_when_it_has_arrived():
    admission = Admission(1, 1_000)
    slow, fast = admission.enter(10), admission.enter(10)
    slow.arrive(9, complete=False)
    fast.arrive(10, complete=True)
    with pytest.raises(Busy):
        admission.enter(10)
    with pytest.raises(Busy):
        slow.arrive(1, complete=True)
    fast.leave()
    slow.leave()
    assert (admission.size, admission.bodies, admission.streams) == (0, 0, 0)


def test_bodies_of_lines_keep_no_place_of_others_and_have_a_number_of_their_own():
    admission = Admission(1, 1_000)
    stream = admission.enter(0)
    stream.stream()
    stream.arrive(5_000, complete=True)
    with pytest.raises(Busy):
        admission.enter(0).stream()
    other = admission.enter(10)
    other.arrive(10, complete=True)
    stream.leave()
    other.leave()
    assert (admission.size, admission.bodies, admission.streams) == (0, 0, 0)


def test_an_object_or_an_array_counts_as_three_values():
    assert VALUES.count(b'{"a": [1, 2], "b": "x"}') == 8


@pytest.mark.parametrize(
    ("kind", "mark", "most"),
    [
        ("application/json; charset=utf-8", b",", MOST_VALUES),
        ("application/fhir+json", b",", MOST_VALUES),
        ("text/csv", b"\n", MOST_ROWS),
        ("application/hl7-v2", b"\r", MOST_LINES),
        ("x-application/hl7-v2+er7", b"\n", MOST_LINES),
    ],
)
def test_what_a_body_may_say_is_counted_while_it_arrives(kind, mark, most):
    budget = Budget(10**9, Admission(1, 10**9).enter(0), kind)
    for _ in range(most // 1_000):
        budget.charge(mark * 1_000, complete=False)
    with pytest.raises(TooLarge) as refused:
        budget.charge(mark, complete=False)
    assert refused.value.headers["Connection"] == "close"
    assert str(most) in str(refused.value)


def test_the_time_to_read_a_body_is_processor_time():
    allowed = ReadingTime(0.05)
    allowed.check()
    time.sleep(0.1)
    allowed.check()
    began = time.thread_time()
    while time.thread_time() < began + 0.1:
        pass
    with pytest.raises(TooLarge):
        allowed.check()
    allowed.restart()
    allowed.check()
