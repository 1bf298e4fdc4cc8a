"""Single facts by their identifiers, every version of them, and the searches over them, on both engines."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import Erased
from app.store import resources
from app.store.engine import Database
from app.store.erasure import erase
from app.store.resource_search import Bound, Criteria, Number, count, search
from app.store.studies import study_key
from app.timeline.resource import ResourceKey, StoredResource, logical_id
from tests.repetition import repeats
from tests.store.posts import FULL, begin_study, ck, etag, now, post, put, timeline
from tests.tables import with_tables

DAY = 86_400_000_000
_studies = itertools.count(1)


def find(database: Database, study: str, name: str, resource: Any = "Observation") -> StoredResource | None:
    return next((version for version in history(database, study, name, resource) if not version.late), None)


def history(database: Database, study: str, name: str, resource: Any = "Observation") -> list[StoredResource]:
    with database.reading() as connection:
        return resources.history(connection, study, resource, name)


def searched(
    database: Database, study: str, revision: int = 99, limit: int = 100, **criteria: Any
) -> list[StoredResource]:
    resource = criteria.pop("resource", "Observation")
    after = criteria.pop("after", None)
    with database.reading() as connection:
        return search(connection, study, Criteria(resource, **criteria), revision, after=after, limit=limit)


def names(found: list[StoredResource]) -> list[str]:
    return [each.fact.id or each.fact.identity for each in found]


def versions(found: list[StoredResource]) -> list[tuple[str, Any, bool]]:
    return [(each.version, each.fact and each.fact.value, each.late) for each in found]


@pytest.fixture
def k1(database, study) -> str:
    """The identifier of the result `k1` of P01, which was posted and corrected, and then came once more from before."""
    post(database, study, timeline("P01", ck(value=1101, version=1)))
    post(database, study, timeline("P01", ck(value=1102, version=3)))
    post(database, study, timeline("P01", ck(value=9999, version=2)))
    [found] = searched(database, study)
    return found.id


def test_a_fact_is_found_by_its_identifier_as_it_stands(database, study, k1):
    found = find(database, study, k1)
    assert (found.patient, found.kind, found.fact.value, found.version) == ("P01", "labs", 1102, "2")
    assert found.id == k1 == logical_id(found.patient_key, "labs", found.fact.identity)
    assert not found.withdrawn
    with database.reading() as connection:
        key = ResourceKey("P01", "labs", found.fact.identity)
        patients = [("P01", found.patient_key, 1)]
        assert resources.standing(connection, study_key(connection, study), patients, [key]) == {key: found}


def test_every_version_is_listed_newest_first_with_the_late_ones(database, study, k1):
    assert versions(history(database, study, k1)) == [("3", 9999, True), ("2", 1102, False), ("1", 1101, False)]
    received = [each.received_at for each in history(database, study, k1)]
    assert received == sorted(received, reverse=True)
    assert len(set(received)) == 3


def test_several_versions_of_one_revision_have_names_of_their_own(database, study):
    post(database, study, timeline("P01", ck(value=1, version=1), ck(value=2, version=2), ck(value=3, version=3)))
    [found] = searched(database, study)
    known = history(database, study, found.id)
    assert len({each.version for each in known}) == 3
    assert [each.fact.value for each in known if not each.late] == [3]
    assert find(database, study, found.id).fact.value == 3


def test_a_fact_that_a_replaced_timeline_leaves_out_is_gone_and_its_history_says_when(database, study, k1):
    put(database, study, timeline("P01"), etag(database, study, "P01"))
    found = find(database, study, k1)
    assert found.gone
    assert found.version == "4"
    assert [(each.version, each.removed) for each in history(database, study, k1)][:2] == [("4", True), ("3", False)]
    assert searched(database, study) == []
    put(database, study, timeline("P01", ck(value=1102, version=3)), etag(database, study, "P01"))
    assert find(database, study, k1).version == "5"
    assert [each.removed for each in history(database, study, k1)] == [False, True, False, False, False]


def test_a_withdrawn_fact_is_found_with_its_status_and_left_out_of_searches(database, study, k1):
    post(database, study, timeline("P01", ck(value=None, unit=None, version=4, status="entered-in-error")))
    found = find(database, study, k1)
    assert (found.fact.status, found.withdrawn, found.gone) == ("entered-in-error", True, False)
    assert searched(database, study) == []
    assert names(searched(database, study, statuses=("entered-in-error",))) == ["k1"]
    assert searched(database, study, statuses=()) == []


def test_a_withdrawn_adverse_event_is_gone(database, study):
    event = {"id": "ae-1", "term": "headache"}
    post(database, study, timeline("P01", adverse_events=[event]))
    [found] = searched(database, study, resource="AdverseEvent")
    post(database, study, timeline("P01", adverse_events=[event | {"status": "entered-in-error"}]))
    assert find(database, study, found.id, "AdverseEvent").gone


def test_a_patient_has_a_version_for_each_change_of_an_attribute(database, study):
    post(database, study, timeline("P01", about={"sex": "female"}))
    post(database, study, timeline("P01", ck()))
    post(database, study, timeline("P01", about={"sex": "male", "birth_year": 1953}))
    known = history(database, study, "P01", "Patient")
    assert [(each.version, {fact.identity: fact.value for fact in each.attributes}) for each in known] == [
        ("3", {"sex": '"male"', "birth_year": "1953"}),
        ("1", {"sex": '"female"'}),
    ]
    assert find(database, study, "P01", "Patient") == known[0]
    assert searched(database, study, resource="Patient") == known[:1]
    assert searched(database, study, revision=2, resource="Patient") == known[1:]


def test_what_nobody_stored_is_not_found(database, study, k1):
    for name in ("", "k1", "P01", k1[:-1], "a" + k1[1:], k1.replace("-", "--"), logical_id(1, "labs", "x")):
        assert find(database, study, name) is None or name == k1, name
    assert find(database, study, "P02", "Patient") is None
    assert find(database, study, k1, "AdverseEvent") is None


def test_another_study_does_not_find_it(database, study, k1):
    other = begin_study(database, f"other-{next(_studies)}-{study}")
    assert find(database, other, k1) is None
    assert find(database, other, "P01", "Patient") is None
    assert searched(database, other) == searched(database, other, ids=(k1,)) == []
    assert searched(database, other, patients=("P01",)) == searched(database, other, resource="Patient") == []


def test_the_facts_of_an_erased_person_say_that_they_were_erased(database, study, k1):
    with database.writing() as connection:
        erase(connection, study, "P01", client=None, received_at=now())
    for name, resource in ((k1, "Observation"), ("P01", "Patient")):
        with pytest.raises(Erased):
            find(database, study, name, resource)
    assert searched(database, study, ids=(k1,)) == []
    with database.writing() as connection:
        from app.store.ledger import replace
        from tests.store.posts import history as facts

        replace(connection, study, facts(timeline("P01", ck())), if_match=None, readmit=True, format="native",
                client=None, received_at=now())  # fmt: skip
    with pytest.raises(Erased):
        find(database, study, k1)
    assert find(database, study, "P01", "Patient") is not None


# Searches


@pytest.fixture
def clinic(database, study) -> str:
    """P02 and P01 with results of several days, codes, sources and ways of dating them."""
    post(
        database, study,
        timeline("P02", ck("a", time="2005-03-16"), ck("b", time="2005-03-17T00:30:00+09:00"),
                 ck("c", time="2005-03-16T23:59:59Z"), ck("d", code="LDH", time="2004-12-31", lab="B")),
        timeline("P01", ck("e", time="2006-01-01"), assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62}]),
    )  # fmt: skip
    return study


def test_a_search_is_ordered_by_kind_then_patient(database, clinic):
    found = searched(database, clinic)
    assert [each.kind for each in found] == ["labs"] * 5 + ["assessments"]
    assert [each.patient for each in found] == ["P01", "P02", "P02", "P02", "P02", "P01"]
    with database.reading() as connection:
        assert count(connection, clinic, Criteria("Observation"), 99) == 6


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({"patients": ("P01",)}, {"e", "MMT"}),
        ({"patients": ("P02", "P01", "P09")}, {"a", "b", "c", "d", "e", "MMT"}),
        ({"patients": ()}, set()),
        ({"codes": ("LDH",)}, {"d"}),
        ({"codes": ("MMT", "LDH")}, {"d", "MMT"}),
        ({"codes": ()}, set()),
        ({"numbers": (Number("A", ("a", "d")),)}, {"a"}),
        ({"numbers": (Number(None, ("a", "d")),)}, {"a", "d"}),
        ({"numbers": (Number("B", None), Number("A", ("e",)))}, {"d", "e"}),
        ({"numbers": (Number(None, ("a",), without_source=True),)}, set()),
        ({"numbers": ()}, set()),
    ],
)
def test_a_search_finds_what_meets_every_criterion(database, clinic, criteria, expected):
    found = searched(database, clinic, **criteria)
    assert {each.fact.id or each.fact.code for each in found} == expected
    with database.reading() as connection:
        assert count(connection, clinic, Criteria("Observation", **criteria), 99) == len(expected)


MARCH_16, MARCH_17 = 12858, 12859


@pytest.mark.parametrize(
    ("prefix", "of_the_day", "of_the_instant"),
    [
        ("eq", {"a", "c", "MMT"}, {"c"}),
        ("ne", {"b", "d", "e"}, {"a", "b", "d", "e", "MMT"}),
        ("gt", {"b", "e"}, {"e"}),
        ("ge", {"a", "b", "c", "e", "MMT"}, {"c", "e"}),
        ("lt", {"d"}, {"a", "b", "d", "MMT"}),
        ("le", {"a", "c", "d", "MMT"}, {"a", "b", "c", "d", "MMT"}),
        ("sa", {"b", "e"}, {"e"}),
        ("eb", {"d"}, {"b", "d"}),
    ],
)
def test_a_date_is_compared_as_the_range_that_it_is(database, clinic, prefix, of_the_day, of_the_instant):
    """`b` was drawn at 15:30 UTC on the 16th, which its laboratory calls the 17th; `a` is the whole of the 16th."""

    def found(bound: Bound) -> set[str]:
        return {each.fact.id or each.fact.code for each in searched(database, clinic, dates=(bound,))}

    assert found(Bound("day", prefix, MARCH_16, MARCH_17)) == of_the_day
    last_second = MARCH_17 * DAY - 1_000_000
    assert found(Bound("instant", prefix, last_second, MARCH_17 * DAY)) == of_the_instant


def test_an_event_without_onset_meets_no_date(database, study):
    post(database, study, timeline("P01", adverse_events=[{"term": "rash"}, {"term": "fever", "onset": "2005-03-16"}]))
    for prefix in ("ge", "ne", "lt"):
        found = searched(database, study, resource="AdverseEvent", dates=(Bound("day", prefix, 0, 1),))
        assert [each.fact.term for each in found] == (["fever"] if prefix != "lt" else [])


def test_when_a_version_was_received_is_a_criterion(database, study):
    before = now()
    post(database, study, timeline("P01", ck("k1")), at=before + 10)
    post(database, study, timeline("P01", ck("k2")), at=before + 20)
    post(database, study, timeline("P02", ck("k1", value=7), about={"sex": "male"}), at=before + 30)

    def since(prefix: Any, at: int, resource: str = "Observation") -> int:
        bound = Bound("instant", prefix, before + at, before + at + 1)
        return len(searched(database, study, resource=resource, updated=(bound,)))

    assert [since("ge", at) for at in (0, 10, 11, 20, 21, 30, 31)] == [3, 3, 2, 2, 1, 1, 0]
    assert [since("gt", at) for at in (10, 20, 30)] == [2, 1, 0]
    assert [since("lt", at) for at in (10, 20, 30, 31)] == [0, 1, 2, 3]
    assert [since("eq", at) for at in (10, 20, 30, 15)] == [1, 1, 1, 0]
    assert [since("ne", at) for at in (10, 15)] == [2, 3]
    assert [since("gt", at, "Patient") for at in (9, 10, 30)] == [2, 1, 0]


def test_a_search_at_a_revision_sees_what_stood_then(database, study):
    post(database, study, timeline("P01", ck("k1", value=1)))
    post(database, study, timeline("P01", ck("k1", value=2)))
    assert [each.fact.value for each in searched(database, study, revision=1)] == [1]
    assert [each.fact.value for each in searched(database, study, revision=2)] == [2]
    assert searched(database, study, revision=0) == []


@pytest.mark.parametrize(
    "criteria",
    [{}, {"patients": ("P01", "P02")}, {"resource": "Patient"}, {"codes": ("CK", "MMT")}, {"ids": None}],
    ids=["all", "patients", "people", "codes", "ids"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_show_each_fact_once_whatever_is_posted_meanwhile(database, clinic, criteria, size):
    whole = searched(database, clinic, revision=1, **{k: v for k, v in criteria.items() if v is not None})
    if criteria.get("ids", ()) is None:
        criteria = {"ids": tuple(each.id for each in whole)}
    seen: list[StoredResource] = []
    while page := searched(database, clinic, 1, size, after=seen[-1].id if seen else None, **criteria):
        seen += page
        assert len(seen) <= 50, "the walk goes in circles"
        post(database, clinic, timeline("P01", ck(f"new-{len(seen)}")), timeline(f"P00-{len(seen)}", ck()))
        post(database, clinic, timeline("P02", ck("a", value=len(seen), time="2005-03-16")))
    assert [each.id for each in seen] == [each.id for each in whole]
    assert seen == whole


def test_a_page_after_an_unknown_fact_is_empty(database, clinic):
    assert searched(database, clinic, after=logical_id(1, "labs", "x")) == []
    assert searched(database, clinic, after="nonsense") == []


def test_a_search_for_patients_reads_no_other_patient(tmp_path):
    """The plans of SQLite: by the key of the patient, and by the order of the study, without sorting."""
    from sqlalchemy import text

    from app.store import resource_search
    from app.store.queries import Query

    url = with_tables(f"sqlite:///{tmp_path / 'x.db'}")
    database = Database(url)
    study = begin_study(database, "trial")
    post(database, study, FULL)
    plans: dict[str, str] = {}
    with database.reading() as connection:
        connection.execute(text("SELECT 1"))
        prepared = resource_search._begin(connection, study, Criteria("Observation", codes=("CK",)), 9)
        for scope in ("exact", "patient", "study"):
            query = resource_search._query(prepared, "labs", scope, resource_search._columns("labs"))
            written, places, fixed = query._on(connection.dialect)
            values = [(1, "", 10, *fixed)[place] for place in places or ()]
            rows = connection.connection.cursor().execute("EXPLAIN QUERY PLAN " + written, values).fetchall()
            plans[scope] = "\n".join(row[3] for row in rows)
            assert isinstance(query, Query)
    database.dispose()
    assert "SCAN" not in "".join(plans.values()), plans
    assert "TEMP B-TREE" not in plans["study"] + plans["patient"] + plans["exact"], plans
    assert "lab_results USING PRIMARY KEY (patient_key=?" in plans["patient"], plans


@settings(max_examples=repeats(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    codes=st.none() | st.sets(st.sampled_from(["CK", "LDH", "MMT", "HAQ"])),
    patients=st.none() | st.sets(st.sampled_from(["P01", "P02", "P03"])),
    days=st.lists(st.tuples(st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le"]), st.integers(12780, 13160))),
    size=st.integers(1, 4),
)
def test_pages_of_any_search_are_what_a_plain_filter_picks(database, clinic, codes, patients, days, size):
    def met(each: StoredResource) -> bool:
        tests = {
            "eq": int.__eq__,
            "ne": int.__ne__,
            "gt": int.__gt__,
            "lt": int.__lt__,
            "ge": int.__ge__,
            "le": int.__le__,
        }
        return (
            (codes is None or each.fact.code in codes)
            and (patients is None or each.patient in patients)
            and all(tests[prefix](each.fact.day, day) for prefix, day in days)
        )

    criteria = {
        "codes": None if codes is None else tuple(codes),
        "patients": None if patients is None else tuple(patients),
        "dates": tuple(Bound("day", prefix, day, day + 1) for prefix, day in days),
    }
    seen: list[StoredResource] = []
    while page := searched(database, clinic, limit=size, after=seen[-1].id if seen else None, **criteria):
        seen += page
        assert len(seen) <= 50, "the walk goes in circles"
    assert seen == [each for each in searched(database, clinic) if met(each)]
    with database.reading() as connection:
        assert count(connection, clinic, Criteria("Observation", **criteria), 99) == len(seen)
