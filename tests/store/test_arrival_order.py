"""Versioned facts arrive in any order, and the study is the same."""

import random

from app.store.chain import verify
from app.store.ledger import submit, submit_each
from tests.store.posts import begin_study, ck, columns, got, history, now, timeline

SAID = [
    timeline("P1", ck("a", value=10 * version + 1, version=version, status=status), about={"sex": "female"})
    for version, status in [(1, "preliminary"), (1, "final"), (2, "final"), (3, "entered-in-error"), (4, "corrected")]
] + [
    timeline("P2", ck("a", value=5, issued="2005-03-17T08:00:00Z")),
    timeline("P2", ck("a", value=6, issued="2005-03-18T08:00:00Z"), ck("b", value=7)),
    timeline("P2", ck("b", value=None, status="entered-in-error")),
    timeline("P2", assessments=[{"code": "MMT", "time": "2005-03-16", "score": 60, "version": 1}]),
    timeline("P2", assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62, "version": 2}]),
]


def test_hundreds_of_orders_of_arrival_end_in_one_state(database, study):
    orders = random.Random(20080118)
    ends = set()
    for n in range(150):
        name = begin_study(database, f"{study}-{n}")
        said = [history(one) for one in SAID * 2]
        orders.shuffle(said)
        with database.writing() as connection:
            if n % 3:
                for one in said:
                    submit(connection, name, [one], format="native", client=None, received_at=now())
            else:
                submit_each(connection, name, said, format="native", client=None, received_at=now())
        with database.reading() as connection:
            assert verify(connection, name).faults == ()
        ends.add((columns(database, name, 1000).digest, str(got(database, name, "P1")), str(got(database, name, "P2"))))
    assert len(ends) == 1
