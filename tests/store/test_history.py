"""The history of a patient: every version, its source, and why it does not stand any more."""

import pytest

from app.errors import Erased, NotFound
from app.store.erasure import erase
from app.store.history import Circumstance, Wanted, versions
from app.store.ledger import submit
from app.timeline.facts import History
from app.timeline.normalize import AttributeFact
from tests.store.posts import FULL, begin_study, ck, got, history, now, post, put, revisions, timeline


def recorded(database, study, patient="P1", revision=None, wanted=None, **page):
    """The versions of a patient, by default all of them at the latest revision."""
    at = revisions(database, study)[-1].number if revision is None else revision
    with database.reading() as connection:
        return versions(connection, study, patient, at, wanted, **{"limit": 1000, **page})


def short(found):
    """Each version as its value, the revisions that added and removed it, and the reason."""
    return [
        (
            version.fact.get("value"),
            version.added.revision,
            None if version.removed is None else version.removed.revision,
            version.reason,
        )
        for version in found
    ]


def test_a_fact_that_stands_is_recorded_as_the_timeline_shows_it(database, study):
    post(database, study, FULL)
    found = recorded(database, study, "P01")
    document = got(database, study, "P01")
    assert all((version.standing, version.removed, version.added.revision) == (True, None, 1) for version in found)
    sections = {
        "lab_result": "labs",
        "assessment": "assessments",
        "infusion": "infusions",
        "medication": "medications",
        "adverse_event": "adverse_events",
    }
    for kind, section in sections.items():
        shown = [version.fact for version in found if version.kind == kind]
        assert sorted(map(repr, shown)) == sorted(map(repr, document[section]))
    attributes = {version.fact["name"]: version.fact["value"] for version in found if version.kind == "attribute"}
    assert attributes == {name: value for name, value in document["patient"].items() if name != "id"} | {
        "ended": document["ended"]
    }


def test_a_version_says_when_from_whom_and_in_which_format_it_came_and_what_ended_it(database, study):
    post(database, study, timeline("P1", ck(value=1)), at=1_700_000_000_000_000)
    with database.writing() as connection:
        corrected = history(timeline("P1", ck(value=2)))
        submit(connection, study, [corrected], format="hl7v2", client="mirth", received_at=1_700_000_001_000_000)
    first, second = recorded(database, study)
    assert first.added == Circumstance(1, 1_700_000_000_000_000, "native", "ehr")
    assert first.removed == second.added == Circumstance(2, 1_700_000_001_000_000, "hl7v2", "mirth")
    assert (first.reason, second.reason, first.standing, second.standing) == ("superseded", None, False, True)


def test_a_fact_withdrawn_by_its_source_and_one_left_out_by_a_put_have_different_reasons(database, study):
    post(database, study, timeline("P1", ck("a", value=1), ck("b", value=2)))
    post(database, study, timeline("P1", ck("a", value=None, status="entered-in-error")))
    put(database, study, timeline("P1"), "*")
    assert short(recorded(database, study)) == [
        (1, 1, 2, "withdrawn"),
        (2, 1, 3, "left_out"),
        (None, 2, None, "withdrawal"),
    ]


def test_a_fact_that_was_left_out_and_put_again_is_two_versions_of_the_same_content(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    put(database, study, timeline("P1"), "*")
    put(database, study, timeline("P1", ck(value=1)), "*")
    assert short(recorded(database, study)) == [(1, 1, 2, "left_out"), (1, 3, None, None)]


def test_a_correction_that_came_before_its_original_leaves_it_late(database, study):
    post(database, study, timeline("P1", ck(value=2, version=2)))
    post(database, study, timeline("P1", ck(value=1, version=1)))
    assert short(recorded(database, study)) == [(2, 1, None, None), (1, 2, 2, "late")]


def test_a_result_that_came_after_its_withdrawal_is_late(database, study):
    post(database, study, timeline("P1", ck(value=None, status="cancelled")))
    post(database, study, timeline("P1", ck(value=1)))
    assert short(recorded(database, study)) == [(None, 1, None, "withdrawal"), (1, 2, 2, "late")]


def test_of_several_versions_in_one_document_superseded_and_late_ones_have_different_reasons(database, study):
    post(database, study, timeline("P1", *[ck(value=10 + n, version=n) for n in (2, 3, 1)]))
    assert short(recorded(database, study)) == [(12, 1, 1, "superseded"), (13, 1, None, None), (11, 1, 1, "late")]


def test_a_withdrawal_may_itself_be_superseded(database, study):
    post(database, study, timeline("P1", ck(value=None, status="entered-in-error", version=1)))
    post(database, study, timeline("P1", ck(value=5, version=2)))
    assert short(recorded(database, study)) == [(None, 1, 2, "superseded"), (5, 2, None, None)]


def test_a_version_that_a_put_let_stand_below_a_greater_one_was_not_late(database, study):
    post(database, study, timeline("P1", ck(value=3, version=3)))
    put(database, study, timeline("P1"), "*")
    put(database, study, timeline("P1", ck(value=1, version=1)), "*")
    post(database, study, timeline("P1", ck(value=5, version=5)))
    assert short(recorded(database, study)) == [(3, 1, 2, "left_out"), (1, 3, 4, "superseded"), (5, 4, None, None)]


def test_a_replay_adds_nothing_to_the_record(database, study):
    for _ in range(3):
        post(database, study, FULL)
    assert {version.added.revision for version in recorded(database, study, "P01")} == {1}


def test_the_record_at_a_revision_has_nothing_later(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    post(database, study, timeline("P1", ck(value=2)))
    put(database, study, timeline("P1"), "*")
    assert short(recorded(database, study, revision=1)) == [(1, 1, None, None)]
    assert short(recorded(database, study, revision=2)) == [(1, 1, 2, "superseded"), (2, 2, None, None)]
    assert short(recorded(database, study, revision=3)) == [(1, 1, 2, "superseded"), (2, 2, 3, "left_out")]


def test_pages_at_one_revision_fit_together_while_posts_arrive(database, study):
    post(database, study, FULL)
    for n in range(20):
        post(database, study, timeline("P01", ck("k", value=n, version=n), about={"weight_kg": 50 + n}))
    whole = recorded(database, study, "P01", 15)
    pages = []
    for offset in range(0, len(whole) + 7, 7):
        pages += recorded(database, study, "P01", 15, offset=offset, limit=7)
        post(database, study, timeline("P01", ck("k", value=offset, version=99 + offset), ck(f"new-{offset}")))
    assert pages == whole
    assert [version.added.revision for version in whole] == sorted(version.added.revision for version in whole)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (Wanted(kind="lab_result"), 3),
        (Wanted(kind="attribute"), 6),
        (Wanted(kind="adverse_event"), 2),
        (Wanted(code="CK"), 2),
        (Wanted(code="MMT"), 1),
        (Wanted(number="acc-77"), 1),
        (Wanted(number="ae-1"), 1),
        (Wanted(kind="lab_result", code="LDH"), 1),
        (Wanted(kind="lab_result", code="CK", number="acc-77"), 1),
        (Wanted(kind="assessment", code="CK"), 0),
        (Wanted(kind="infusion", code="CK"), 0),
        (Wanted(number="acc-78"), 0),
    ],
)
def test_the_record_can_be_asked_for_a_kind_a_code_and_a_number(database, study, wanted, count):
    post(database, study, FULL)
    found = recorded(database, study, "P01", wanted=wanted)
    assert len(found) == count
    assert all(wanted.kind in {None, version.kind} for version in found)
    assert all(wanted.code in {None, version.fact.get("code")} for version in found)
    assert all(wanted.number in {None, version.fact.get("id")} for version in found)


def test_a_filter_does_not_hide_why_a_version_does_not_stand(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    post(database, study, timeline("P1", ck(value=None, status="cancelled")))
    assert short(recorded(database, study, wanted=Wanted(number="k1"), limit=1)) == [(1, 1, 2, "withdrawn")]


def test_an_attribute_has_the_time_of_issue_of_its_source(database, study):
    link = AttributeFact("merged_into", None, None, None, 1_700_000_000_000_000, "final", '"P2"')
    with database.writing() as connection:
        histories = [
            History("P1", (link,)),
            History("P1", (link._replace(issued=link.issued + 1, status="entered-in-error"),)),
        ]
        submit(connection, study, histories, format="hl7v2", client=None, received_at=now())
    first, second = recorded(database, study)
    assert (first.kind, first.fact) == (
        "attribute",
        {"name": "merged_into", "value": "P2", "issued": "2023-11-14T22:13:20Z", "status": "final"},
    )
    assert (first.reason, second.reason) == ("withdrawn", "withdrawal")


def test_erased_and_unknown_persons_have_no_record(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    post(database, study, timeline("P2", ck()))
    with pytest.raises(NotFound):
        recorded(database, study, "P2", 1)
    with pytest.raises(NotFound):
        recorded(database, study, "P3")
    with pytest.raises(NotFound):
        recorded(database, begin_study(database, f"{study}-other"), "P1", 1)
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
    with pytest.raises(Erased):
        recorded(database, study)
    put(database, study, timeline("P1", ck(value=7)), readmit=True)
    assert short(recorded(database, study)) == [(7, 4, None, None)]
    with pytest.raises(NotFound):
        recorded(database, study, revision=1)


def test_more_versions_than_one_query_takes_are_read(database, study):
    post(database, study, timeline("P1", *[ck(f"k{n:04d}", value=n) for n in range(700)]))
    post(database, study, timeline("P1", *[ck(f"k{n:04d}", value=n + 1) for n in range(700)]))
    found = recorded(database, study, limit=5000)
    assert [version.reason for version in found] == ["superseded"] * 700 + [None] * 700
    assert len(recorded(database, study, offset=1399, limit=10)) == 1
