"""Two records of one person: analyses read them as one, and as two again when the merge is undone."""

import itertools
import json
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Conflict, Erased, FaultCode, InvalidDocument
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.ledger import submit, submit_each
from app.store.timelines import list_patients
from app.timeline.cohort import Cohort
from app.timeline.facts import attribute
from app.timeline.merged_records import persons
from app.timeline.normalize import AttributeFact, History
from tests.store.posts import (
    FULL,
    begin_study,
    ck,
    columns,
    columns_of,
    etag,
    got,
    history,
    now,
    post,
    put,
    revisions,
    timeline,
)

DAY = 86_400_000_000
FIRST = 1_600_000_000_000_000


def merge(database, study, record, survivor, issued=None, status="final"):
    """Say that a record is merged into another, as an ADT message does, or take it back."""
    fact = AttributeFact("merged_into", None, None, None, issued, status, json.dumps(survivor))
    with database.writing() as connection:
        done = submit(connection, study, [History(record, (fact,))], format="hl7v2", client=None, received_at=now())
    return done.outcomes[0]


def read(database, study, revision=None):
    """What analyses read, at the latest revision."""
    return columns(database, study, revisions(database, study)[-1].number if revision is None else revision)


def lab_values(cohort):
    """The values of each patient."""
    labs = cohort.labs
    return {one.id: labs.value[labs.patient == i].tolist() for i, one in enumerate(cohort.patients)}


def forget(database, study, patient):
    with database.writing() as connection:
        return erase(connection, study, patient, client=None, received_at=now())


def test_linked_records_are_one_person_with_the_facts_of_both(database, study):
    post(database, study, timeline("P1", ck("a", value=1), about={"sex": "female"}))
    post(database, study, timeline("P2", ck("b", value=2), about={"sex": "male", "birth_year": 1953}))
    post(database, study, timeline("P2", about={"merged_into": "P1"}))
    cohort = read(database, study)
    assert lab_values(cohort) == {"P1": [1, 2]}
    assert (cohort.patients[0].sex, cohort.patients[0].birth_year) == ("female", 1953)
    together = timeline("P1", ck("a", value=1), ck("b", value=2), about={"sex": "female", "birth_year": 1953})
    other = begin_study(database, f"{study}-one")
    post(database, other, together)
    assert cohort.digest == read(database, other).digest


def test_every_kind_of_fact_counts_under_the_survivor(database, study):
    post(database, study, timeline("P1"))
    post(database, study, FULL | {"patient": FULL["patient"] | {"merged_into": "P1"}})
    alone = begin_study(database, f"{study}-alone")
    post(database, alone, FULL | {"patient": FULL["patient"] | {"id": "P1"}})
    assert read(database, study).digest == read(database, alone).digest
    assert read(database, study).patients == read(database, alone).patients


def test_one_person_is_read_with_the_facts_of_all_records_and_a_merged_record_is_nobody(database, study):
    post(database, study, timeline("P1", ck("a", value=1), ck("c", value=5, version=1), about={"sex": "female"}))
    post(database, study, FULL, timeline("P3", ck("c", value=6, version=2), about={"birth_year": 1950}))
    for record in ("P3", "P01"):
        assert merge(database, study, record, "P1").status == "changed"
        latest = revisions(database, study)[-1].number
        whole = columns(database, study, latest)
        for place, row in enumerate(whole.patients):
            one = columns_of(database, study, row.id, latest)
            assert (one.patients, one.digest) == ((row,), whole.between(place, place + 1).digest)
        assert len(columns_of(database, study, record, latest)) == 0
    forget(database, study, "P3")
    with pytest.raises(Erased):
        columns_of(database, study, "P3", revisions(database, study)[-1].number)


@pytest.fixture
def rings_allowed(monkeypatch):
    """Rings are stored, as before they were refused."""
    monkeypatch.setattr("app.store.ledger.ring_faults", lambda *_, **__: [])


def test_records_that_are_never_stored_are_read_as_those_that_are(database, study, rings_allowed):
    documents = [
        timeline("P1", ck("a", value=1, version=1), ck("b", value=3), about={"sex": "female", "merged_into": "P9"}),
        timeline("P2", ck("a", value=2, version=2), ck("b", value=4), about={"birth_year": 1953, "merged_into": "P1"}),
        timeline("P3", ck("b", value=None, status="cancelled"), about={"merged_into": "P2"}),
        timeline("P4", ck("a", value=7), about={"merged_into": "P5"}),
        timeline("P5", ck("a", value=8), about={"merged_into": "P4"}),
    ]
    post(database, study, *documents)
    unstored = Cohort.of_histories([history(one) for one in documents])
    assert lab_values(unstored) == {"P1": [2], "P4": [7], "P5": [8]}
    assert (unstored.patients, unstored.digest) == (read(database, study).patients, read(database, study).digest)


def test_a_merge_that_is_undone_leaves_what_was_before_and_the_past_replays(database, study):
    post(database, study, timeline("P1", ck("a", value=1)), timeline("P2", ck("b", value=2)))
    merge(database, study, "P2", "P1", FIRST)
    merge(database, study, "P2", "P1", FIRST + DAY, "entered-in-error")
    digests = [read(database, study, n).digest for n in (1, 2, 3)]
    assert digests[0] == digests[2] != digests[1]
    assert [lab_values(read(database, study, n)) for n in (1, 2, 3)] == [
        {"P1": [1], "P2": [2]},
        {"P1": [1, 2]},
        {"P1": [1], "P2": [2]},
    ]


def test_a_merge_and_its_undoing_may_arrive_in_any_order(database, study):
    documents = [("P1", FIRST, "final"), ("P1", FIRST + DAY, "entered-in-error"), ("P3", FIRST + 2 * DAY, "final")]
    for n, order in enumerate(permutations(documents)):
        name = begin_study(database, f"{study}-{n}")
        post(database, name, *[timeline(f"P{i}", ck(f"k{i}", value=i)) for i in (1, 2, 3)])
        for survivor, issued, status in order:
            merge(database, name, "P2", survivor, issued, status)
        assert lab_values(read(database, name)) == {"P1": [1], "P3": [2, 3]}


def test_a_fact_in_both_records_counts_once_and_the_greater_version_stands(database, study):
    post(database, study, timeline("P1", ck("a", value=1, version=1), ck("b", value=3, version=9)))
    post(database, study, timeline("P2", ck("a", value=2, version=2), ck("b", value=4, version=1)))
    post(database, study, timeline("P2", about={"merged_into": "P1"}))
    assert lab_values(read(database, study)) == {"P1": [2, 3]}


def test_of_equal_versions_that_of_the_survivor_stands(database, study):
    for record, value in (("P1", 3), ("P2", 1), ("P0", 2)):
        post(database, study, timeline(record, ck("a", value=value)))
    merge(database, study, "P2", "P1")
    merge(database, study, "P0", "P1")
    assert lab_values(read(database, study)) == {"P1": [3]}


def test_of_equal_versions_in_merged_records_that_of_the_first_identifier_stands(database, study):
    post(database, study, timeline("P1"))
    for record, value in (("b", 1), ("B", 2), ("a", 3)):
        post(database, study, timeline(record, ck("a", value=value), about={"weight_kg": 40 + value}))
        merge(database, study, record, "P1")
    cohort = read(database, study)
    assert (lab_values(cohort), cohort.patients[0].weight_kg) == ({"P1": [2]}, 42)


def test_a_withdrawal_in_one_record_withdraws_the_fact_in_the_other(database, study):
    post(database, study, timeline("P1", ck("a", value=1), ck("b", value=2)))
    post(database, study, timeline("P2", ck("a", value=None, status="entered-in-error"), ck("c", value=3)))
    merge(database, study, "P2", "P1")
    assert lab_values(read(database, study)) == {"P1": [2, 3]}


def test_a_fact_that_a_put_left_out_of_one_record_still_stands_in_the_other(database, study):
    post(database, study, timeline("P1", ck("a", value=1, version=2)), timeline("P2", ck("a", value=2, version=1)))
    merge(database, study, "P2", "P1")
    put(database, study, timeline("P1"), "*")
    assert lab_values(read(database, study)) == {"P1": [2]}


def test_links_are_followed_through_records_that_were_merged_themselves(database, study):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2, 3, 4)])
    merge(database, study, "P3", "P2")
    merge(database, study, "P2", "P1")
    merge(database, study, "P4", "P3")
    assert lab_values(read(database, study)) == {"P1": [1, 2, 3, 4]}
    merge(database, study, "P2", "P1", FIRST, "entered-in-error")
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2, 3, 4]}


RING = [timeline(f"P{n}", about={"merged_into": f"P{n % 3 + 1}"}) for n in (1, 2, 3)]


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_the_merge_that_closes_a_ring_is_refused_in_any_order(database, study, order):
    *before, last = [RING[at] for at in order]
    for document in before:
        post(database, study, document)
    known = revisions(database, study)
    with pytest.raises(InvalidDocument) as refused:
        post(database, study, last)
    assert [(fault.pointer, fault.code) for fault in refused.value.faults] == [
        ("/patient/merged_into", "contradiction")
    ]
    with pytest.raises(InvalidDocument):
        put(database, study, last)
    assert revisions(database, study) == known


def test_a_ring_in_one_submission_is_refused_and_nothing_is_stored(database, study):
    with pytest.raises(InvalidDocument) as refused:
        post(database, study, *RING)
    assert [fault.pointer for fault in refused.value.faults] == [f"/{n}/patient/merged_into" for n in (0, 1, 2)]
    assert stored(database, study) == []


def test_in_a_batch_only_the_merge_that_closes_the_ring_is_refused(database, study):
    with database.writing() as connection:
        outcomes = submit_each(
            connection, study, [history(each) for each in RING], format="native", client=None, received_at=now()
        )
    assert [isinstance(each, InvalidDocument) for each in outcomes] == [False, False, True]
    assert stored(database, study) == ["P1", "P2"]


def test_a_ring_of_two_is_refused_and_a_longer_way_to_one_survivor_is_not(database, study):
    post(database, study, *[timeline(f"P{n}", about={"merged_into": f"P{n + 1}"}) for n in range(1, 9)])
    with pytest.raises(InvalidDocument):
        merge(database, study, "P9", "P1")
    with pytest.raises(InvalidDocument):
        merge(database, study, "P2", "P1")
    merge(database, study, "P9", "P0")


def test_a_merge_that_does_not_stand_closes_no_ring(database, study):
    """The older statement arrives late: the merge was undone before the other way round was stated."""
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    merge(database, study, "P1", "P2", FIRST + DAY, "entered-in-error")
    merge(database, study, "P2", "P1", FIRST + 2 * DAY)
    merge(database, study, "P1", "P2", FIRST)
    assert lab_values(read(database, study)) == {"P1": [1, 2]}


def test_what_an_earlier_version_stored_may_be_sent_again_and_undone(database, study, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("app.store.ledger.ring_faults", lambda *_, **__: [])
        post(database, study, *RING)
    assert merge(database, study, "P3", "P1").status == "unchanged"
    merge(database, study, "P3", "P1", FIRST, "entered-in-error")
    with pytest.raises(InvalidDocument):
        merge(database, study, "P3", "P1", FIRST + DAY)
    merge(database, study, "P3", "P4", FIRST + DAY)


def persons_of(database, study):
    """The values of each person, without regard to their order."""
    return {person: sorted(values) for person, values in lab_values(read(database, study)).items()}


@pytest.mark.parametrize("first", ["P1", "P2"])
def test_a_merge_that_a_later_one_turns_round_is_ended_whichever_arrives_first(database, study, first):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    said = {"P1": ("P1", "P2", FIRST), "P2": ("P2", "P1", FIRST + DAY)}
    for record in (first, *[each for each in said if each != first]):
        merge(database, study, *said[record])
    assert persons_of(database, study) == {"P1": [1, 2]}
    assert "merged_into" not in got(database, study, "P1")["patient"]
    assert got(database, study, "P2")["patient"]["merged_into"] == "P1"
    before = revisions(database, study)
    for again in said.values():
        assert merge(database, study, *again).revision is None
    assert revisions(database, study) == before
    with database.reading() as connection:
        assert verify(connection, study).faults == ()


def test_a_revision_that_turns_a_merge_round_changes_both_records_and_the_past_replays(database, study):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    merge(database, study, "P1", "P2", FIRST)
    outcome = merge(database, study, "P2", "P1", FIRST + DAY)
    assert (outcome.counts.added, outcome.counts.withdrawn) == (1, 1)
    assert [lab_values(read(database, study, n)) for n in (2, 3)] == [{"P2": [1, 2]}, {"P1": [1, 2]}]
    assert [got(database, study, "P1", n)["patient"].get("merged_into") for n in (2, 3)] == ["P2", None]


def test_the_record_that_survives_after_all_can_be_erased_after_the_other(database, study):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    merge(database, study, "P1", "P2", FIRST)
    merge(database, study, "P2", "P1", FIRST + DAY)
    with pytest.raises(Conflict):
        forget(database, study, "P1")
    forget(database, study, "P2")
    forget(database, study, "P1")
    assert stored(database, study) == []


@pytest.mark.parametrize("undone", ["P1", "P2"])
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_to_undo_a_merge_that_was_turned_round_leaves_two_records(database, study, undone, order):
    """Whichever of the two records the message names as the merged one."""
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    merges = [("P1", "P2", FIRST), ("P2", "P1", FIRST + DAY)]
    for at in order:
        merge(database, study, *merges[at])
    other = "P2" if undone == "P1" else "P1"
    assert merge(database, study, undone, other, FIRST + 2 * DAY, "entered-in-error").counts.added == 0
    assert persons_of(database, study) == {"P1": [1], "P2": [2]}
    for again in merges:
        merge(database, study, *again)
    assert persons_of(database, study) == {"P1": [1], "P2": [2]}


@pytest.mark.parametrize("issued", [(FIRST, FIRST), (None, None), (FIRST, None)])
def test_two_records_that_name_each_other_without_a_later_one_are_refused(database, study, issued):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    merge(database, study, "P1", "P2", issued[0])
    before = revisions(database, study)
    with pytest.raises(InvalidDocument) as refused:
        merge(database, study, "P2", "P1", issued[1])
    assert [fault.code for fault in refused.value.faults] == ["contradiction"]
    assert "a later time" in refused.value.faults[0].explanation
    assert revisions(database, study) == before
    with pytest.raises(InvalidDocument):
        put(database, study, timeline("P2", about={"merged_into": "P1"}), "*")
    merge(database, study, "P2", "P1", FIRST + DAY)
    assert persons_of(database, study) == {"P1": [1, 2]}


@pytest.mark.parametrize("again", [("P1", "P2", FIRST), ("P2", "P1", FIRST + DAY)])
def test_what_an_earlier_version_counted_twice_is_one_person_when_a_merge_of_it_is_sent_again(
    database, study, monkeypatch, again
):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2)])
    with monkeypatch.context() as before:
        before.setattr("app.store.ledger.ring_faults", lambda *_, **__: [])
        before.setattr("app.store.ledger.end_turned_links", lambda *_: [])
        merge(database, study, "P1", "P2", FIRST)
        merge(database, study, "P2", "P1", FIRST + DAY)
    assert persons_of(database, study) == {"P1": [1], "P2": [2]}
    assert merge(database, study, *again).revision == 4
    assert persons_of(database, study) == {"P1": [1, 2]}


@st.composite
def merges_of_one_person(draw):
    """Records of one person, and what their hospital says of them: merges, each later than the one before, of two
    records that survive, or of a surviving record into one that was merged into it. At the end, the record that
    survives.
    """
    count = draw(st.integers(2, 4))
    into = {}
    said = []
    for _ in range(count - 1 + draw(st.integers(0, 4))):
        roots = [record for record in range(count) if record not in into]
        record = draw(st.sampled_from(roots))
        turned = [each for each, survivor in into.items() if survivor == record]
        others = [each for each in roots if each != record] or turned
        survivor = draw(st.sampled_from([*others, *turned]))
        into.pop(survivor, None)
        into[record] = survivor
        said.append((record, survivor, FIRST + len(said) * DAY))
    for record in [each for each in range(count) if each not in into][1:]:
        survivor = next(each for each in range(count) if each not in into)
        into[record] = survivor
        said.append((record, survivor, FIRST + len(said) * DAY))
    last = next(record for record in range(count) if record not in into)
    return count, draw(st.permutations(said)), last


@pytest.mark.slow
def test_a_person_counts_once_in_any_order_of_arrival_and_no_result_is_lost(database, study):
    made = itertools.count()
    examples = settings().max_examples // (1 if database.engine.dialect.name == "sqlite" else 10)

    @settings(max_examples=max(examples, 1))
    @given(merges_of_one_person(), st.booleans())
    def in_any_order(drawn, together):
        count, said, last = drawn
        name = begin_study(database, f"{study}-{next(made)}")
        post(database, name, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in range(count)])
        histories = [
            History(f"P{record}", (attribute("merged_into", json.dumps(f"P{survivor}"), issued),))
            for record, survivor, issued in said
        ]
        if together:
            with database.writing() as connection:
                submit_each(connection, name, histories, format="hl7v2", client=None, received_at=now())
        else:
            for record, survivor, issued in said:
                merge(database, name, f"P{record}", f"P{survivor}", issued)
        assert persons_of(database, name) == {f"P{last}": list(range(count))}
        with database.reading() as connection:
            assert verify(connection, name).faults == ()

    in_any_order()


def stored(database, study):
    """The identifiers of the patients of a study."""
    with database.reading() as connection:
        return sorted(each.id for each in list_patients(connection, study, 2**31))


def test_links_round_in_a_circle_link_nobody(database, study, rings_allowed):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2, 3, 4)])
    for record, survivor in (("P1", "P2"), ("P2", "P3"), ("P3", "P1"), ("P4", "P2")):
        merge(database, study, record, survivor)
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2, 4], "P3": [3]}
    merge(database, study, "P4", "P4", FIRST)
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2], "P3": [3], "P4": [4]}


def test_a_link_to_somebody_unknown_links_nobody_until_they_are_known(database, study):
    post(database, study, timeline("P2", ck("b", value=2), about={"merged_into": "P1"}))
    before = read(database, study)
    assert lab_values(before) == {"P2": [2]}
    post(database, study, timeline("P1", ck("a", value=1)))
    assert lab_values(read(database, study)) == {"P1": [1, 2]}
    assert lab_values(read(database, study, 1)) == {"P2": [2]}


def test_a_record_in_another_study_is_nobody(database, study):
    post(database, begin_study(database, f"{study}-other"), timeline("P1", ck("a", value=1)))
    post(database, study, timeline("P2", ck("b", value=2), about={"merged_into": "P1"}))
    assert lab_values(read(database, study)) == {"P2": [2]}


def test_a_record_cannot_be_merged_into_itself_or_into_no_identifier():
    for survivor, code in (("P1", FaultCode.CONTRADICTION), ("..", FaultCode.BAD_IDENTIFIER)):
        with pytest.raises(InvalidDocument) as refusal:
            history(timeline("P1", about={"merged_into": survivor}))
        assert [(fault.pointer, fault.code) for fault in refusal.value.faults] == [("/patient/merged_into", code)]


def test_the_timeline_and_the_list_say_that_a_record_is_merged(database, study):
    post(database, study, timeline("P1"), timeline("P2", about={"sex": "female", "merged_into": "P1"}))
    assert got(database, study, "P2")["patient"] == {"id": "P2", "sex": "female", "merged_into": "P1"}
    with database.reading() as connection:
        listed = {one.id: one.attributes for one in list_patients(connection, study, 1)}
    assert listed == {"P1": {}, "P2": {"sex": "female", "merged_into": "P1"}}


@pytest.mark.parametrize("issued", [None, FIRST])
def test_to_put_what_was_got_changes_nothing_and_to_put_it_without_the_link_undoes_the_merge(database, study, issued):
    post(database, study, timeline("P1", ck("a", value=1)), timeline("P2", ck("b", value=2)))
    merge(database, study, "P2", "P1", issued)
    document = got(database, study, "P2")
    assert put(database, study, document, etag(database, study, "P2")).revision is None
    del document["patient"]["merged_into"]
    assert put(database, study, document, etag(database, study, "P2")).counts.withdrawn == 1
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2]}
    assert merge(database, study, "P2", "P1", issued).status == "stale"
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2]}


def test_what_is_put_stands_and_is_older_than_what_the_source_issues_later(database, study):
    post(database, study, *[timeline(f"P{n}", ck(f"k{n}", value=n)) for n in (1, 2, 3)])
    merge(database, study, "P3", "P1", FIRST + DAY)
    put(database, study, timeline("P3", ck("k3", value=3), about={"merged_into": "P2"}), "*")
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2, 3]}
    assert merge(database, study, "P3", "P1", FIRST).counts.late == 1
    assert lab_values(read(database, study)) == {"P1": [1], "P2": [2, 3]}
    merge(database, study, "P3", "P1", FIRST + 2 * DAY)
    assert lab_values(read(database, study)) == {"P1": [1, 3], "P2": [2]}


def test_a_merge_that_its_source_took_back_can_be_put_again(database, study):
    post(database, study, timeline("P1"), timeline("P2"))
    merge(database, study, "P2", "P1", FIRST)
    merge(database, study, "P2", "P1", FIRST + DAY, "entered-in-error")
    assert put(database, study, timeline("P2", about={"merged_into": "P1"}), "*").status == "changed"
    assert list(lab_values(read(database, study))) == ["P1"]
    assert merge(database, study, "P2", "P1", FIRST + DAY, "entered-in-error").status == "stale"
    assert put(database, study, got(database, study, "P2"), "*").revision is None


def test_a_person_into_whom_others_are_merged_is_not_erased_before_them(database, study):
    post(database, study, timeline("P1", ck("a", value=1)), timeline("P2", ck("b", value=2)))
    merge(database, study, "P2", "P1")
    with pytest.raises(Conflict):
        forget(database, study, "P1")
    assert lab_values(read(database, study)) == {"P1": [1, 2]}
    forget(database, study, "P2")
    forget(database, study, "P1")
    assert lab_values(read(database, study)) == {}
    with database.reading() as connection:
        assert verify(connection, study).faults == ()


def test_once_a_merge_is_undone_the_person_may_be_erased(database, study):
    post(database, study, timeline("P1", ck("a", value=1)), timeline("P2", ck("b", value=2)))
    merge(database, study, "P2", "P1", FIRST)
    merge(database, study, "P2", "P1", FIRST + DAY, "entered-in-error")
    forget(database, study, "P1")
    assert lab_values(read(database, study)) == {"P2": [2]}


def test_a_link_to_a_person_who_has_been_erased_links_nobody(database, study):
    post(database, study, timeline("P1", ck("a", value=1)), timeline("P2", ck("b", value=2)))
    forget(database, study, "P1")
    merge(database, study, "P2", "P1")
    assert lab_values(read(database, study)) == {"P2": [2]}
    with pytest.raises(Erased):
        got(database, study, "P1")


def test_a_link_in_another_study_keeps_nobody_from_being_erased(database, study):
    other = begin_study(database, f"{study}-other")
    post(database, other, timeline("P1"), timeline("P2", about={"merged_into": "P1"}))
    post(database, study, timeline("P1"), timeline("P2"))
    assert forget(database, study, "P1").patient == "P1"


def test_more_merged_records_than_one_statement_takes_are_read(database, study):
    post(database, study, timeline("P"), *[timeline(f"P{n:04d}", ck(f"k{n}", value=n + 1)) for n in range(700)])
    post(database, study, *[timeline(f"P{n:04d}", about={"merged_into": "P"}) for n in range(700)])
    assert lab_values(read(database, study)) == {"P": [n + 1 for n in range(700)]}


NAMES = st.sampled_from("abcdefgh")


def followed(links, known, record):
    """Where a record's links lead, one step at a time; those of a circle lead nowhere."""

    def leads_round(start):
        at, steps = start, 0
        while at in links and links[at] in known and steps <= len(links):
            at, steps = links[at], steps + 1
            if at == start:
                return True
        return False

    while record in links and links[record] in known and not leads_round(record):
        record = links[record]
    return record


@given(st.dictionaries(NAMES, NAMES), st.sets(NAMES))
def test_who_is_one_person_is_what_following_each_link_says(links, known):
    links = {record: survivor for record, survivor in links.items() if record in known}
    expected = {}
    for record in sorted(known):
        end = followed(links, known, record)
        if end != record:
            expected.setdefault(end, []).append(record)
    assert persons(links, known) == expected


def test_a_chain_of_a_hundred_thousand_links_is_followed():
    links = {str(n): str(n + 1) for n in range(100_000)}
    found = persons(links, {str(n) for n in range(100_001)})
    assert list(found) == ["100000"]
    assert len(found["100000"]) == 100_000
