"""What a submission does to what is stored."""

import pytest

from app.errors import Erased, FaultCode, InvalidDocument, NotFound
from app.store.erasure import erase
from app.store.ledger import Counts, Outcome, submit, submit_each
from app.timeline.normalize import History
from tests.store.posts import FULL, begin_study, ck, got, history, now, post, revisions, timeline, values


def numbers(database, study):
    return [one.number for one in revisions(database, study)]


def test_the_first_post_of_a_patient_creates_them_in_revision_1(database, study):
    outcome = post(database, study, timeline("P1", ck()))
    assert outcome == Outcome("P1", "created", 1, Counts(added=1))
    assert values(database, study, "P1") == [1101]


def test_a_patient_of_whom_nothing_is_said_but_the_name_is_created_too(database, study):
    assert post(database, study, timeline("P1")) == Outcome("P1", "created", 1, Counts())
    assert post(database, study, timeline("P1")) == Outcome("P1", "unchanged", None, Counts())


def test_a_replay_makes_no_revision(database, study):
    post(database, study, FULL)
    for _ in range(3):
        outcome = post(database, study, FULL)
        assert (outcome.status, outcome.revision, outcome.counts.unchanged) == ("unchanged", None, 14)
    assert numbers(database, study) == [0, 1]


def test_a_greater_version_supersedes_and_a_late_retry_of_the_first_changes_nothing(database, study):
    post(database, study, timeline("P1", ck(value=100, version=1)))
    corrected = post(database, study, timeline("P1", ck(value=120, version=2)))
    assert corrected == Outcome("P1", "changed", 2, Counts(superseded=1))
    retried = post(database, study, timeline("P1", ck(value=100, version=1)))
    assert retried == Outcome("P1", "stale", None, Counts(stale=1))
    assert values(database, study, "P1") == [120]


def test_a_smaller_version_that_arrives_after_a_greater_one_is_stored_and_does_not_stand(database, study):
    post(database, study, timeline("P1", ck(value=120, version=2)))
    late = post(database, study, timeline("P1", ck(value=100, version=1)))
    assert late == Outcome("P1", "stale", 2, Counts(late=1))
    again = post(database, study, timeline("P1", ck(value=100, version=1)))
    assert again == Outcome("P1", "stale", None, Counts(stale=1))
    assert values(database, study, "P1") == [120]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"version": 0}),
        ({"version": 1}, {"version": 2}),
        ({}, {"issued": "1950-01-01T00:00:00Z"}),
        ({"issued": "2005-03-17T08:00:00Z"}, {"issued": "2005-03-17T08:00:00.000001Z"}),
        ({"version": 1, "issued": "2005-03-18T00:00:00Z"}, {"version": 2, "issued": "2005-03-17T00:00:00Z"}),
        ({"status": "preliminary"}, {}),
        ({"status": "final"}, {"status": "amended"}),
        ({"status": "amended"}, {"status": "corrected"}),
        ({"status": "corrected"}, {"status": "entered-in-error"}),
        ({"status": "corrected", "version": 1}, {"status": "preliminary", "version": 2}),
    ],
)
def test_version_then_issue_time_then_status_decide_whatever_arrives_first(database, study, first, second):
    less, greater = ck(value=100, **first), ck(value=120, **second)
    post(database, study, timeline("P1", less))
    assert post(database, study, timeline("P1", greater)).counts == Counts(
        superseded=1, withdrawn=int(second.get("status") == "entered-in-error")
    )
    post(database, study, timeline("P2", greater))
    assert post(database, study, timeline("P2", less)).counts == Counts(late=1)
    assert values(database, study, "P1") == values(database, study, "P2")


def test_arrival_decides_between_assertions_that_nothing_else_orders_and_is_counted(database, study):
    post(database, study, timeline("P1", ck(value=100)))
    outcome = post(database, study, timeline("P1", ck(value=120)))
    assert outcome.counts == Counts(superseded=1, unversioned_corrections=1)
    assert post(database, study, timeline("P1", ck(value=100))).status == "stale"
    assert values(database, study, "P1") == [120]


def test_a_fact_entered_in_error_disappears_from_sight_and_its_replay_changes_nothing(database, study):
    post(database, study, timeline("P1", ck("k1"), ck("k2", value=7)))
    withdrawn = timeline("P1", ck("k1", value=None, status="entered-in-error"))
    assert post(database, study, withdrawn).counts == Counts(superseded=1, withdrawn=1)
    assert post(database, study, withdrawn).status == "unchanged"
    assert post(database, study, timeline("P1", ck("k1"))).status == "stale"
    assert values(database, study, "P1") == [7]
    assert values(database, study, "P1", 1) == [1101, 7]


def test_a_withdrawal_may_arrive_before_what_it_withdraws(database, study):
    post(database, study, timeline("P1", ck(value=None, status="cancelled")))
    assert post(database, study, timeline("P1", ck())).counts == Counts(late=1)
    assert values(database, study, "P1") == []


def test_one_accession_number_carries_many_analytes_and_laboratories_share_numbers(database, study):
    labs = [ck(), ck(code="LDH", value=461), ck(lab="B", value=900)]
    assert post(database, study, timeline("P1", *labs)).counts == Counts(added=3)


def test_an_attribute_follows_the_last_arrival_and_a_late_retry_does_not_bring_it_back(database, study):
    post(database, study, timeline("P1", about={"weight_kg": 49}))
    assert post(database, study, timeline("P1", about={"weight_kg": 52})).counts.unversioned_corrections == 1
    assert post(database, study, timeline("P1", about={"weight_kg": 49})).status == "stale"
    assert got(database, study, "P1")["patient"]["weight_kg"] == 52


def test_several_versions_in_one_document_leave_the_greatest(database, study):
    versions = [ck(value=100 + n, version=n) for n in (2, 3, 1)]
    outcome = post(database, study, timeline("P1", *versions))
    assert (outcome.status, sum(outcome.counts[:5])) == ("created", 3)
    assert values(database, study, "P1") == [103]
    for n in (1, 2):
        assert post(database, study, timeline("P1", ck(value=100 + n, version=n))).status == "stale"


def test_a_patient_who_occurs_twice_is_merged_one_after_the_other_in_one_revision(database, study):
    with database.writing() as connection:
        done = submit(
            connection,
            study,
            [history(timeline("P1", *labs)) for labs in ([ck("a")], [ck("a"), ck("b")], [ck("b")])],
            format="native",
            client=None,
            received_at=now(),
        )
    assert [(one.status, one.revision) for one in done.outcomes] == [
        ("created", 1),
        ("changed", 1),
        ("unchanged", None),
    ]
    assert done.counts == Counts(added=2, unchanged=2)
    assert (done.revision, numbers(database, study)) == (1, [0, 1])


def test_one_submission_that_states_a_fact_in_two_ways_is_refused_and_stores_nothing(database, study):
    with pytest.raises(InvalidDocument) as refusal:
        post(database, study, timeline("P0"), timeline("P1", ck(value=1)), timeline("P1", ck(value=2)))
    assert [(fault.pointer, fault.code) for fault in refusal.value.faults] == [
        ("/2/labs", FaultCode.CONFLICTING_DUPLICATE)
    ]
    assert numbers(database, study) == [0]


def test_a_refused_submission_leaves_the_transaction_usable_for_the_next(database, study):
    with database.writing() as connection:
        circumstances = {"format": "native", "client": None, "received_at": now()}
        submit(connection, study, [history(timeline("P1", ck()))], **circumstances)
        with pytest.raises(InvalidDocument):
            submit(
                connection,
                study,
                [history(timeline("P2", ck(value=1))), history(timeline("P2", ck(value=2)))],
                **circumstances,
            )
        with pytest.raises(NotFound):
            submit(connection, "elsewhere", [history(timeline("P2"))], **circumstances)
        submit(connection, study, [history(timeline("P3", ck()))], **circumstances)
    assert numbers(database, study) == [0, 1, 2]
    with pytest.raises(NotFound):
        got(database, study, "P2")


def test_an_exception_in_the_block_undoes_all_of_it(database, study):
    def submit_and_fail():
        with database.writing() as connection:
            submit(connection, study, [history(FULL)], format="native", client=None, received_at=now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        submit_and_fail()
    assert numbers(database, study) == [0]


def test_many_patients_in_one_submission_are_one_revision(database, study):
    outcome = post(database, study, *[timeline(f"P{i:03d}", ck(value=i + 1)) for i in range(300)])
    assert outcome.revision == 1
    assert [values(database, study, f"P{i:03d}") for i in (0, 150, 299)] == [[1], [151], [300]]
    assert revisions(database, study)[1].counts["added"] == 300


def test_a_group_of_a_stream_makes_one_revision_for_each_history_that_says_something(database, study):
    documents = [
        timeline("P1", ck(value=1)),
        timeline("P2", ck(value=2)),
        timeline("P1", ck(value=1)),
        timeline("P1", ck(value=3, version=1)),
        timeline("P1", ck(value=4, version=2)),
        timeline("P2", ck(value=2), ck("k2", value=5)),
    ]
    with database.writing() as connection:
        done = submit_each(
            connection,
            study,
            [history(document) for document in documents],
            format="native",
            client="ehr",
            received_at=now(),
        )
    assert [(one.status, one.revision) for one in done] == [
        ("created", 1),
        ("created", 2),
        ("unchanged", None),
        ("changed", 3),
        ("changed", 4),
        ("changed", 5),
    ]
    assert [values(database, study, "P1", n) for n in range(1, 6)] == [[1], [1], [3], [4], [4]]
    assert numbers(database, study) == [0, 1, 2, 3, 4, 5]


def test_an_erased_person_in_a_stream_gives_their_error_in_place_and_the_others_stand(database, study):
    post(database, study, timeline("P1", ck()))
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
        done = submit_each(
            connection,
            study,
            [history(timeline(who, ck())) for who in ("P1", "P2")],
            format="native",
            client=None,
            received_at=now(),
        )
    assert isinstance(done[0], Erased)
    assert (done[1].patient, done[1].revision) == ("P2", 3)
    with pytest.raises(Erased):
        post(database, study, timeline("P2", ck("k2")), timeline("P1"))
    assert numbers(database, study) == [0, 1, 2, 3]


def test_the_time_of_a_revision_never_goes_back(database, study):
    start = now()
    for given in (start, start - 5_000_000, start + 1):
        post(database, study, timeline(f"P{given}"), at=given)
    assert [one.received_at for one in revisions(database, study)][1:] == [start, start, start + 1]


def test_a_revision_says_who_sent_it_in_which_format_and_what_it_did(database, study):
    post(database, study, FULL)
    record = revisions(database, study)[1]
    assert (record.client, record.format, record.counts["added"]) == ("ehr", "native", 14)
    assert (len(bytes.fromhex(record.digest)), len(bytes.fromhex(record.hash)), record.erased) == (32, 32, False)


def test_nothing_is_shared_between_studies(database, study):
    other = begin_study(database, f"{study}-other")
    post(database, study, timeline("P1", ck(value=1)))
    assert post(database, other, timeline("P1", ck(value=2))) == Outcome("P1", "created", 1, Counts(added=1))
    assert (values(database, study, "P1"), values(database, other, "P1")) == ([1], [2])


def test_a_study_that_does_not_exist_takes_nothing(database):
    with pytest.raises(NotFound):
        post(database, "nowhere", timeline("P1"))


def test_repeats_that_the_reader_collapsed_are_counted(database, study):
    assert post(database, study, timeline("P1", ck(), ck(), ck())).counts == Counts(added=1, repeats=2)


def test_an_empty_submission_does_nothing(database, study):
    with database.writing() as connection:
        done = submit(connection, study, [], format="native", client=None, received_at=now())
        assert (done.revision, done.outcomes, done.counts) == (None, (), Counts())
        assert submit_each(connection, study, [], format="native", client=None, received_at=now()) == []


def test_more_identities_than_one_statement_takes_are_looked_up_in_parts(database, study):
    labs = [ck(f"k{i}", value=i + 1) for i in range(1300)]
    post(database, study, timeline("P1", *labs))
    assert post(database, study, timeline("P1", *labs)).counts == Counts(unchanged=1300)
    assert post(database, study, timeline("P1", *labs, ck("new"))).counts == Counts(unchanged=1300, added=1)


def test_text_outside_ascii_and_the_widest_numbers_come_back_as_they_were(database, study):
    odd = "µ筋炎 🧪 'quoted' \\ % %s ? :x"
    written = timeline(
        "P1",
        ck(lab=odd[:60], version=2**53 - 1, value=0.1),
        adverse_events=[{"term": odd}],
        medications=[{"drug": odd, "start": "1900-01-01", "dose": 1e-6, "unit": "g"}],
    )
    post(database, study, written)
    read = got(database, study, "P1")
    assert (read["labs"][0]["lab"], read["labs"][0]["value"], read["labs"][0]["version"]) == (odd[:60], 0.1, 2**53 - 1)
    assert (read["adverse_events"][0]["term"], read["medications"][0]["dose"]) == (odd, 1e-6)
    assert post(database, study, written).status == "unchanged"


def test_an_empty_history_needs_no_facts_to_be_merged(database, study):
    with database.writing() as connection:
        done = submit(connection, study, [History("P9")], format="hl7v2", client=None, received_at=now())
    assert done.outcomes[0].status == "created"
