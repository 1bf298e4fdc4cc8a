"""An answer with many facts of one note: after a declared number of a kind, further ones are counted and not listed."""

from collections import Counter
from typing import Any

import pytest

from app.errors import Busy
from app.readers.table_rows import Dialect
from app.store import ledger
from app.submission.batches import store_table
from app.timeline import receipts
from tests.api.examples import make_study

HEADER = "patient,time,code,value,unit,upper_limit,id\n"
DAY = "2005-04-%02dT09:00:00+09:00"


@pytest.fixture(autouse=True)
def few(monkeypatch) -> None:
    """Three lines of a kind are listed."""
    monkeypatch.setattr(receipts, "LISTED_OF_A_KIND", 3)


@pytest.fixture
def home(client) -> str:
    return make_study(client, identifiers="pseudonyms")


def rows(patient: str, days: range, limit: str = "", value: str = "900") -> str:
    return "".join(f"{patient},{DAY % day},CK,{value},U/L,{limit},{patient}-{day}\n" for day in days)


def post(client: Any, home: str, table: str, **parameters: str) -> Any:
    answer = client.post(
        f"{home}/labs", content=(HEADER + table).encode(), headers={"Content-Type": "text/csv"}, params=parameters
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(answer: Any) -> list[tuple[str, ...]]:
    """The place, and the notes or the reason, of each line of all receipts."""
    return [
        (line["place"], *([note["code"] for note in line.get("notes", ())] or [line["reason"]]))
        for item in answer["items"]
        for line in item["receipt"]["lines"]
    ]


def without_limits(*lines: int) -> list[tuple[str, str]]:
    return [(f"/{line}", "no_upper_limit") for line in lines]


def test_after_the_declared_number_of_a_kind_further_lines_are_counted(client, home):
    answer = post(client, home, rows("P1", range(1, 3)) + rows("P2", range(1, 9)))
    assert listed(answer) == [("/2/patient", "new_patient"), *without_limits(2, 3), ("/4/patient", "new_patient"),
                              *without_limits(4)]  # fmt: skip
    assert [item["receipt"].get("short") for item in answer["items"]] == [None, 7]
    assert answer["short"] == {"lines": 7, "notes": {"no_upper_limit": 7}, "listed_with": "receipt=full"}
    assert [item["receipt"]["counts"]["kept"] for item in answer["items"]] == [2, 8]
    assert answer["facts"]["kept"] == 10


@pytest.mark.parametrize("parameters", [{}, {"atomic": "true"}])
def test_a_full_receipt_of_the_same_lists_what_was_counted(client, home, parameters):
    table = rows("P1", range(1, 9))
    first = post(client, home, table, **parameters)
    assert first["short"]["lines"] == 5
    again = post(client, home, table, receipt="full", **parameters)
    assert "short" not in again
    assert listed(again) == [(place, "no_upper_limit", "unchanged") for place, _ in without_limits(*range(2, 10))]


def test_an_answer_that_lists_everything_says_nothing_more(client, home):
    answer = post(client, home, rows("P1", range(1, 4)) + rows("P1", range(5, 20), "163"))
    assert "short" not in answer
    assert "short" not in answer["items"][0]["receipt"]


def test_new_patients_are_counted_too_and_their_status_says_it(client, home):
    answer = post(client, home, "".join(rows(f"P{number}", range(1, 2), "163") for number in range(5)))
    assert answer["short"]["notes"] == {"new_patient": 2}
    assert [item["status"] for item in answer["items"]] == ["created"] * 5


def test_what_is_not_kept_is_always_listed(client, home):
    bad, other = rows("P1", range(1, 8), value="9;5"), rows("P1", range(8, 15)).replace("CK", "KREA")
    reasons = Counter(line[1] for line in listed(post(client, home, bad + other + rows("P1", range(15, 20)))))
    assert reasons == {"new_patient": 1, "bad_number": 7, "code": 7, "no_upper_limit": 3}
    older = [{"code": "CK", "time": DAY % day, "value": 1, "unit": "U/L", "id": f"{day}", "version": 2, "lab": "A"}
             for day in range(1, 8)]  # fmt: skip
    address = f"{home}/patients/P2/events"
    client.post(address, json={"patient": {"id": "P2"}, "labs": older})
    again = [{**each, "version": 1, "value": 2} for each in older]
    receipt = client.post(address, json={"patient": {"id": "P2"}, "labs": again}).json()["receipt"]
    assert [line["reason"] for line in receipt["lines"]] == ["older"] * 7


def test_a_result_that_takes_the_place_of_another_is_always_listed(client, home):
    post(client, home, rows("P1", range(1, 8)))
    answer = post(client, home, rows("P1", range(1, 8), value="901"))
    assert len(listed(answer)) == 7
    assert all(line["affects"] for line in answer["items"][0]["receipt"]["lines"])
    assert "short" not in answer


def test_a_note_that_a_second_sending_would_not_have_is_always_listed(client, home):
    same = [{"code": "CK", "time": DAY % 1, "value": 900, "unit": "U/L", "upper_limit": 163, "id": str(number)}
            for number in range(8)]  # fmt: skip
    answer = client.post(f"{home}/patients/P1/events", json={"patient": {"id": "P1"}, "labs": same}).json()
    notes = Counter(note["code"] for line in answer["receipt"]["lines"] for note in line["notes"])
    assert notes["possible_duplicate"] >= 7
    assert "short" not in answer


def test_timelines_are_answered_in_the_same_way_alone_in_an_array_and_together(client, home):
    def timeline(patient: str) -> dict[str, Any]:
        labs = [{"code": "CK", "time": DAY % day, "value": 900, "unit": "U/L"} for day in range(1, 9)]
        return {"patient": {"id": patient}, "labs": labs}

    alone = client.post(f"{home}/patients/P1/events", json=timeline("P1")).json()
    assert [line["place"] for line in alone["receipt"]["lines"]] == ["/patient", "/labs/0", "/labs/1", "/labs/2"]
    assert (alone["receipt"]["short"], alone["short"]["notes"]) == (5, {"no_upper_limit": 5})
    for parameters in ({}, {"atomic": "true"}):
        people = [timeline(f"{'A' if parameters else 'B'}{number}") for number in range(2)]
        answer = client.post(f"{home}/timelines", json=people, params=parameters).json()
        assert [item["receipt"].get("short") for item in answer["items"]] == [5, 8]
        assert answer["short"]["notes"] == {"no_upper_limit": 13}


def test_the_intake_of_the_study_counts_every_note(client, home):
    post(client, home, rows("P1", range(1, 9)))
    [source] = client.get(f"{home}/intake").json()["items"]
    assert source["noted"]["no_upper_limit"] == 8
    assert source["kept"] == 8


def test_work_that_is_done_again_counts_its_lines_once(client, home, monkeypatch):
    submit_each, turns = ledger.submit_each, [True, False]

    def at_the_second_turn(*given: Any, **more: Any) -> Any:
        outcomes = submit_each(*given, **more)
        if turns.pop(0):
            raise Busy
        return outcomes

    monkeypatch.setattr(ledger, "submit_each", at_the_second_turn)
    database = client.app_state["app_state"].database
    stored = store_table(
        database, home.rpartition("/")[2], (HEADER + rows("P1", range(1, 9))).encode(), Dialect(),
        secret=None, now=1_770_000_000_000_000, atomic=False, pauses=(0.0,),
    )  # fmt: skip
    assert turns == []
    assert (stored.short.lines, stored.short.notes) == (5, {"no_upper_limit": 5})
