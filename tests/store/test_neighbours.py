"""What stands beside new results does not depend on the order in which the database gives it."""

from itertools import permutations

from app.store.neighbours import _far, _Result

BEFORE = [_Result("CK", 10, None, value, f"#{name}|CK|") for name, value in (("a", 1.0), ("b", 50.0), ("c", 4000.0))]
AFTER = _Result("CK", 30, None, 20.0, "@CK|d30|")


def test_stored_results_of_one_day_are_neighbours_in_one_order():
    new = _Result("CK", 20, None, 5000.0, "#k1|CK|", 0)
    found = {tuple(_far([new, AFTER, *stored])) for stored in permutations(BEFORE)}
    assert found == {()}  # c is the one before
    assert [*_far([new, AFTER, *BEFORE[:2]])] == [0]
