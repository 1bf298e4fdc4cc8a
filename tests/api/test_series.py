"""The series of a measure: the rows of `adeff`, patient by patient, with the times as they were sent."""

import csv
import io

import pytest

from tests.api.examples import codes, events, fill, lab, make_study, timeline
from tests.datasets.addresses import fact_at

COLUMNS = (
    "time", "date", "day", "value", "comparator", "upper_limit", "limit_borrowed", "is_normal", "usable", "baseline",
    "week", "reason", "fact",
)  # fmt: skip


def series(client, home, query="measure=CK"):
    answer = client.get(f"{home}/series?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def adeff(client, home, code):
    text = client.get(f"{home}/datasets/adeff.csv").text
    return [row for row in csv.DictReader(io.StringIO(text, newline="")) if row["PARAMCD"] == code]


def rich(client):
    home = fill(client, 3)
    client.put(f"{home}/patients/P03", json=timeline("P03", infusions=[]))
    more = [
        lab(-1, 900, id="a-1"), lab(-1, 950, upper_limit=None), lab(3, 41, comparator="<"),
        lab(9, 7000, comparator=">", upper_limit=None), lab(400, 150, unit="U/L"),
    ]  # fmt: skip
    client.put(f"{home}/patients/P04", json=timeline("P04", labs=more))
    client.put(f"{home}/patients/P05", json={"patient": {"id": "P05"}})
    return home


def as_adeff(one, place):
    """A point of a series in the words of `adeff`."""
    sign = one["comparator"][place]
    indicator = {True: "NORMAL", False: "HIGH", None: ""}
    limit, day = one["upper_limit"][place], one["day"][place]
    week = one["week"][place]
    return {
        "ADT": one["date"][place],
        "ADY0": "" if day is None else str(day),
        "AVALC": f"{sign}{one['value'][place]:g}" if sign else "",
        "ANRHI": "" if limit is None else f"{limit:g}",
        "ANRIND": indicator[one["is_normal"][place]],
        "ANL02FL": "Y" if one["usable"][place] else "",
        "ABLFL": "Y" if one["baseline"][place] else "",
        "AVISITN": "" if week is None else str(week),
        "ANLREAS": one["reason"][place] or "",
        "SRCID": one["fact"][place],
    }


@pytest.mark.parametrize("measure", ["CK", "MMT", "LDH"])
def test_a_series_has_the_rows_of_adeff(anywhere, measure):
    home = rich(anywhere)
    page = series(anywhere, home, f"measure={measure}")
    assert [one["patient"] for one in page["items"]] == ["P00", "P01", "P02", "P03", "P04", "P05"]
    assert (page["measure"], page["unit"], page["next"]) == (measure, "points" if measure == "MMT" else "U/L", None)
    expected = adeff(anywhere, home, measure)
    found = []
    for one in page["items"]:
        assert len({len(one[name]) for name in COLUMNS}) == 1
        for place in range(len(one["value"])):
            row = as_adeff(one, place)
            found.append(row)
            mine = expected[len(found) - 1]
            assert mine["USUBJID"] == f"trial/{one['patient']}"
            assert mine["TRTSDT"] == (one["day_0"] or "")
            assert {name: mine[name] for name in row} == row
            if one["comparator"][place] is None:
                assert float(mine["AVAL"]) == one["value"][place]
    assert len(found) == len(expected)
    assert (measure == "LDH") == (not found)


def test_times_are_those_that_were_sent_and_each_point_leads_to_its_fact(anywhere):
    home = rich(anywhere)
    for one in series(anywhere, home)["items"]:
        document = anywhere.get(f"{home}/patients/{one['patient']}").json()
        facts = [fact_at({one["patient"]: document}, each) for each in one["fact"]]
        assert [fact["time"] for fact in facts] == one["time"]
        assert [fact["value"] for fact in facts] == one["value"]
        assert [fact.get("comparator") for fact in facts] == one["comparator"]
        assert all(time.endswith("T09:00:00+09:00") for time in one["time"])
        assert len(facts) == len(document.get("labs", []))


def test_a_limit_that_was_sent_with_another_result_is_told_from_its_own(client):
    home = make_study(client)
    protocol = client.get("/v1/protocols/seed-2008").json() | {"id": "own", "upper_limit": "nearest_same_laboratory"}
    assert client.put(f"{home}/protocol", json=protocol).status_code == 200
    client.put(f"{home}/patients/P01", json=timeline("P01", labs=[lab(-1, 900), lab(7, 100, upper_limit=None)]))
    [one] = series(client, home)["items"]
    assert (one["upper_limit"], one["limit_borrowed"], one["is_normal"]) == ([163, 163], [False, True], [False, True])


def test_all_pages_are_read_at_the_revision_of_the_first(anywhere):
    home = rich(anywhere)
    whole = series(anywhere, home)
    first = anywhere.get(f"{home}/series?measure=CK&limit=2")
    anywhere.post(f"{home}/patients/P04/events", json=events("P04", lab(20, 5)))
    anywhere.put(f"{home}/patients/P00a", json=timeline("P00a"))
    items, page = first.json()["items"], first.json()
    assert first.headers["link"] == f'<{page["next"]}>; rel="next"'
    while page["next"]:
        page = anywhere.get(page["next"]).json()
        items += page["items"]
        assert page["revision"] == whole["revision"]
    assert items == whole["items"]
    then = series(anywhere, home, f"measure=CK&revision={whole['revision']}")
    assert then == whole
    assert series(anywhere, home, f"measure=CK&as_of={whole['as_of']}") == whole
    assert series(anywhere, home)["revision"] > whole["revision"]
    assert codes(anywhere.get(f"{home}/series?measure=LDH&cursor={first.json()['next'].rpartition('=')[2]}")) == [
        ("/query/cursor", "malformed")
    ]


def test_an_unchanged_page_is_not_sent_again(client):
    home = rich(client)
    tags = set()
    for query in ("measure=CK", "measure=MMT", "measure=CK&limit=2", "measure=CK&patient=P01"):
        tag = client.get(f"{home}/series?{query}").headers["etag"]
        again = client.get(f"{home}/series?{query}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        tags.add(tag)
    assert len(tags) == 4
    client.post(f"{home}/patients/P04/events", json=events("P04", lab(20, 5)))
    assert client.get(f"{home}/series?measure=CK").headers["etag"] not in tags


def test_merged_records_are_one_patient_under_either_name(anywhere):
    home = fill(anywhere, 2)
    anywhere.put(f"{home}/patients/P09", json={"patient": {"id": "P09", "merged_into": "P01"}, "labs": [lab(50, 77)]})
    page = series(anywhere, home)
    assert [one["patient"] for one in page["items"]] == ["P00", "P01"]
    merged = page["items"][1]
    assert 77 in merged["value"]
    assert sum(fact.startswith("P09/") for fact in merged["fact"]) == 1
    for name in ("P01", "P09"):
        assert series(anywhere, home, f"measure=CK&patient={name}")["items"] == [merged]


def test_a_patient_who_is_unknown_or_erased_is_refused(anywhere):
    home = fill(anywhere, 2)
    assert anywhere.get(f"{home}/series?measure=CK&patient=nobody").status_code == 404
    assert anywhere.get(f"{home}/series?measure=CK&patient=P01&revision=1").status_code == 404
    anywhere.delete(f"{home}/patients/P01?erase=true")
    assert anywhere.get(f"{home}/series?measure=CK&patient=P01").status_code == 410
    assert "P01" not in anywhere.get(f"{home}/series?measure=CK").text
    assert codes(anywhere.get(f"{home}/series?measure=IRON"))[0][0] == "/query/measure"
    assert codes(anywhere.get(f"{home}/series"))[0][0] == "/query/measure"


def test_the_audit_names_whose_values_were_read(anywhere):
    home = fill(anywhere, 3)
    for query in ("measure=CK&limit=2", "measure=CK&patient=P02"):
        series(anywhere, home, query)
    anywhere.app_state["app_state"].trail.close()
    rows = [row for row in anywhere.get("/v1/audit?study=trial&limit=500").json()["items"]
            if row["operation"] == "getSeries"]  # fmt: skip
    assert [(row["extent"], row["patients"], row["scope"]) for row in rows] == [
        ("patients", ["P00", "P01"], "read-patients"), ("patients", ["P02"], "read-patients"),
    ]  # fmt: skip
