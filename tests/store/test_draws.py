"""Several draws of one number: what stands in the ledger, what each submission says of it, and instructions."""

import itertools
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.readers.statements import Place, Statement, history_of
from app.store import client_ids, resources
from app.store.engine import Database
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.ledger import Outcome, submit
from app.store.resource_search import Criteria, count, search
from app.timeline.facts import History, Instruction
from app.timeline.receipts import AffectedFact, Disposition, NoteCode, NotKept
from app.timeline.times import instant_text
from tests.repetition import repeats
from tests.store.number_rule_twin import GONE, Told, standing
from tests.store.posts import LATEST, begin_study, ck, got, history, now, post, put, timeline, values
from tests.store.test_number_rule import EXAMPLES, STATUSES, TIMES

SECOND = 1_000_000
BEGIN = 1_800_000_000 * SECOND
"""The second 0 of issue and receipt in these tests; specimens are older."""
FIRST_DAY = date(2005, 3, 1)
MORNING, NOON, EVENING = "2005-03-16T09:00:00+09:00", "2005-03-16T12:00:00+09:00", "2005-03-16T18:00:00+09:00"


def written(told: Told, shift: int = 0) -> dict[str, Any]:
    """A statement as a laboratory result in a document; times of issue are `shift` seconds later."""
    if isinstance(told.time, tuple):
        time = str(FIRST_DAY + timedelta(told.time[1]))
    elif told.time is None:
        time = ""
    else:
        day, minute = divmod(told.time, 1440)
        time = f"{FIRST_DAY + timedelta(day)}T{minute // 60:02d}:{minute % 60:02d}:00+00:00"
    fields = {"time": time, "status": told.status, "value": None if told.status in GONE else told.value}
    if told.issued is not None:
        fields["issued"] = instant_text(BEGIN + (told.issued + shift) * SECOND)
    if told.version is not None:
        fields["version"] = told.version
    return ck(**fields)


def shown(database: Database, study: str, patient: str) -> list[dict[str, Any]]:
    return [
        {name: lab.get(name) for name in ("time", "status", "issued", "version", "value")}
        for lab in got(database, study, patient)["labs"]
    ]


def as_shown(told: Told, shift: int) -> dict[str, Any]:
    document = written(told, shift)
    return {name: document.get(name) for name in ("time", "status", "issued", "version", "value")}


def in_any_order(found: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, found))


TOLD = st.builds(
    lambda time, status, issued, version, value, loose: Told(
        None if loose and status in GONE else time, status, issued, version, None if status in GONE else value
    ),
    TIMES,
    STATUSES,
    st.sampled_from([None, None, 10, 20, 30, 1001, 1003]),
    st.sampled_from([None, None, None, 1, 2, 3]),
    st.integers(1, 3),
    st.booleans(),
)
SETS = st.lists(TOLD, min_size=2, max_size=5, unique=True)


def arrive(connection: Any, study: str, patient: str, told: Told, second: int, shift: int) -> Outcome:
    """Submit one statement, which is received at this second."""
    at = BEGIN + (second + shift) * SECOND
    stated = history(timeline(patient, written(told, shift)))
    return submit(connection, study, [stated], format="t", client=None, received_at=at).outcomes[0]


def check_fate(outcome: Outcome, told: Told, before: frozenset[Told], after: frozenset[Told], aside: frozenset[Told]):
    """What the ledger says of a new statement is what the timeline then shows."""
    fate = outcome.fates[0] if outcome.fates else None
    disposition = fate.disposition if fate else Disposition.KEPT
    assert (disposition is Disposition.SET_ASIDE) == (told in aside)
    if told.status not in GONE:
        assert (disposition is Disposition.KEPT) == (told in after)
    changed = {(one, True) for one in after - before} | {(one, False) for one in before - after}
    expected = [AffectedFact("labs", "CK", written(one)["time"], stands) for one, stands in changed if one is not told]
    assert sorted(fate.affects if fate else ()) == sorted(expected)


@pytest.mark.slow
def test_what_stands_is_what_the_rule_says_after_each_arrival_in_any_order(database):
    """The order matters only where the rule itself says so: its twin is told when each was received."""
    numbers = itertools.count(1)
    sqlite = database.engine.dialect.name == "sqlite"

    @settings(max_examples=repeats(30 if sqlite else 6, thorough=200))
    @given(SETS)
    def holds(told):
        study = begin_study(database, f"draws-{database.engine.dialect.name}-{next(numbers)}")
        every = list(itertools.permutations(told))
        with database.writing() as connection:
            for n, order in enumerate(every[:: max(1, len(every) // 24)]):
                shift, patient, received = n * 10_000, f"P{n}", {}
                before = frozenset[Told]()
                for second, one in enumerate(order, 1000):
                    received[one] = second
                    outcome = arrive(connection, study, patient, one, second, shift)
                    after, aside = standing(received)
                    assert in_any_order(shown_in(connection, study, patient)) == in_any_order(
                        [as_shown(each, shift) for each in after]
                    )
                    check_fate(outcome, one, before, after, aside)
                    before = after
                again = arrive(connection, study, patient, order[0], 1100, shift)
                assert again.revision is None
                assert again.status in {"unchanged", "stale"}
            assert verify(connection, study).faults == ()

    holds()


def shown_in(connection: Any, study: str, patient: str) -> list[dict[str, Any]]:
    """What the timeline shows within the transaction."""
    from app.store.timelines import document

    return [
        {name: lab.get(name) for name in ("time", "status", "issued", "version", "value")}
        for lab in document(connection, study, patient)["labs"]
    ]


@pytest.mark.parametrize("says", EXAMPLES)
def test_an_example_of_the_rule_stands_in_the_ledger(database, study, says):
    told, expected, ambiguous = EXAMPLES[says]
    with database.writing() as connection:
        for second, one in enumerate(told, 1000):
            outcome = arrive(connection, study, "P1", one, second, 0)
    assert set(values(database, study, "P1")) == expected
    assert sum(fate.disposition is Disposition.SET_ASIDE for fate in outcome.fates) <= ambiguous


# What a submission says


def fates(outcome: Outcome) -> list[tuple[Any, ...]]:
    return [(fate.disposition, fate.reason, [note.code for note in fate.notes]) for fate in outcome.fates]


def test_one_document_may_have_several_draws_of_a_number_and_the_later_ones_say_so(database, study):
    outcome = post(database, study, timeline("P1", ck(time=MORNING, value=1), ck(time=NOON, value=2)))
    assert values(database, study, "P1") == [1, 2]
    assert outcome.counts.added == 2
    assert fates(outcome) == [(Disposition.KEPT, None, [NoteCode.SAME_NUMBER_OTHER_TIME])]
    assert [fate.at for fate in outcome.fates] == [1]


def test_a_correction_that_only_arrival_orders_says_so(database, study):
    post(database, study, timeline("P1", ck(value=1)))
    outcome = post(database, study, timeline("P1", ck(value=2)))
    assert fates(outcome) == [(Disposition.KEPT, None, [NoteCode.UNVERSIONED_CORRECTION])]
    assert outcome.fates[0].affects == (AffectedFact("labs", "CK", "2005-03-16", False),)


def test_a_withdrawal_without_a_time_of_issue_ranks_by_its_receipt_and_says_so(database, study):
    post(database, study, timeline("P1", ck(time=MORNING, issued="2005-03-17T08:00:00Z")))
    outcome = post(database, study, timeline("P1", ck(time=MORNING, value=None, status="entered-in-error")))
    assert fates(outcome) == [(Disposition.KEPT, None, [NoteCode.ISSUED_FROM_RECEIPT])]
    assert outcome.fates[0].affects == (AffectedFact("labs", "CK", MORNING, False),)
    assert values(database, study, "P1") == []


def test_a_withdrawal_at_another_time_is_a_question_and_a_cancellation_does_nothing(database, study):
    post(database, study, timeline("P1", ck(time=MORNING)))
    error = post(database, study, timeline("P1", ck(time=NOON, value=None, status="entered-in-error")))
    assert fates(error) == [(Disposition.SET_ASIDE, NotKept.AMBIGUOUS_WITHDRAWAL, [])]
    cancelled = post(database, study, timeline("P1", ck(time=EVENING, value=None, status="cancelled")))
    assert fates(cancelled) == [(Disposition.NOT_APPLIED, NotKept.NO_RESULT, [])]
    late = post(database, study, timeline("P1", ck(time=EVENING, value=7)))
    assert fates(late) == [(Disposition.NOT_APPLIED, NotKept.OLDER, [])]
    assert values(database, study, "P1") == [1101]


def test_an_ambiguous_correction_counts_when_its_draw_becomes_clear(database, study):
    post(database, study, timeline("P1", ck(time=MORNING, value=1, issued="2005-03-17T08:00:00Z")))
    post(database, study, timeline("P1", ck(time=EVENING, value=3, issued="2005-03-17T08:01:00Z")))
    corrected = ck(time=NOON, value=2, status="corrected", issued="2005-03-17T09:00:00Z")
    outcome = post(database, study, timeline("P1", corrected))
    assert fates(outcome) == [(Disposition.SET_ASIDE, NotKept.AMBIGUOUS_CORRECTION, [])]
    assert fates(post(database, study, timeline("P1", corrected))) == [
        (Disposition.SET_ASIDE, NotKept.AMBIGUOUS_CORRECTION, [])
    ]
    withdrawn = ck(time=MORNING, value=None, status="entered-in-error", issued="2005-03-17T09:00:00Z")
    cleared = post(database, study, timeline("P1", withdrawn))
    assert sorted(values(database, study, "P1")) == [2, 3]
    assert set(cleared.fates[0].affects) == {
        AffectedFact("labs", "CK", MORNING, False), AffectedFact("labs", "CK", NOON, True)
    }  # fmt: skip
    assert cleared.status == "changed"


def feed_result(**more: Any) -> Statement:
    fields = {"code": "CK", "time": MORNING, "value": 1500.0, "unit": "U/L", "id": "k1", "source": "A"}
    no_number = more.pop("no_number", False)
    return Statement("labs", fields | more, Place("here"), (), no_number)


def from_feed(
    database: Database, study: str, *statements: Statement, instruction: Instruction | None = None
) -> Outcome:
    read, faults = history_of("P1", statements, LATEST)
    assert faults == []
    with database.writing() as connection:
        stated = replace(read, instruction=instruction)
        return submit(connection, study, [stated], format="t", client=None, received_at=now()).outcomes[0]


def test_a_result_that_is_no_number_takes_the_place_of_the_one_that_it_corrects(database, study):
    from_feed(database, study, feed_result())
    text = feed_result(value=None, unit=None, status="corrected", no_number=True)
    outcome = from_feed(database, study, text)
    assert fates(outcome) == [(Disposition.SET_ASIDE, NotKept.NOT_A_NUMBER, [])]
    assert [affected.stands for affected in outcome.fates[0].affects] == [False]
    assert values(database, study, "P1") == []
    with database.reading() as connection:
        assert count(connection, study, Criteria("Observation"), 99) == 0
    from_feed(database, study, feed_result(value=1400.0, status="corrected", version=1))
    again = (Disposition.SET_ASIDE, NotKept.NOT_A_NUMBER, [NoteCode.UNCHANGED])
    assert fates(from_feed(database, study, text)) == [again]


def test_a_result_that_is_no_number_and_alone_is_set_aside(database, study):
    outcome = from_feed(database, study, feed_result(value=None, unit=None, no_number=True))
    assert fates(outcome) == [(Disposition.SET_ASIDE, NotKept.NOT_A_NUMBER, [])]
    later = from_feed(database, study, feed_result(value=1500.0, status="corrected"))
    assert values(database, study, "P1") == [1500]
    assert later.fates[0].disposition is Disposition.KEPT


def test_a_withdrawal_without_a_specimen_time_withdraws_the_only_draw(database, study):
    from_feed(database, study, feed_result())
    outcome = from_feed(database, study, feed_result(time="", value=None, unit=None, status="entered-in-error"))
    assert outcome.counts.withdrawn == 1
    assert values(database, study, "P1") == []
    with database.reading() as connection:
        recorded = resources.history(connection, study, "Observation", only_id(database, study, "entered-in-error"))
    assert recorded[0].fact.time == ""


def only_id(database: Database, study: str, status: str = "final") -> str:
    with database.reading() as connection:
        [found] = search(connection, study, Criteria("Observation", statuses=(status,)), 99, limit=9)
    return found.id


def test_scores_infusions_drugs_and_events_have_draws_too(database, study):
    score = {"id": "1", "code": "MMT", "score": 60}
    drug = {"id": "1", "drug": "prednisolone"}
    post(database, study, timeline(
        "P1",
        assessments=[score | {"time": MORNING}, score | {"time": NOON}],
        infusions=[{"id": "1", "product": "IVIG", "time": MORNING}, {"id": "1", "product": "IVIG", "time": NOON}],
        medications=[drug | {"start": "2005-01-20"}, drug | {"start": "2005-02-20"}],
        adverse_events=[{"id": "1", "term": "rash", "onset": MORNING}, {"id": "1", "term": "rash", "onset": NOON}],
    ))  # fmt: skip
    document = got(database, study, "P1")
    sections = ("assessments", "infusions", "medications", "adverse_events")
    assert [len(document[section]) for section in sections] == [2, 2, 2, 2]


# Instructions


def test_a_timeline_that_moves_a_time_has_moved_it(database, study):
    post(database, study, timeline("P1", ck(time=MORNING, value=1), ck(time=EVENING, value=3)))
    outcome = put(database, study, timeline("P1", ck(time=NOON, value=1), ck(time=EVENING, value=3)), "*")
    assert (outcome.counts.superseded, outcome.counts.unchanged, outcome.counts.withdrawn) == (1, 1, 0)
    assert [lab["time"] for lab in got(database, study, "P1")["labs"]] == [NOON, EVENING]
    assert post(database, study, timeline("P1", ck(time=MORNING, value=1))).status == "stale"
    assert post(database, study, timeline("P1", ck(time="2005-03-18", value=5))).status == "changed"
    assert [lab["time"] for lab in got(database, study, "P1")["labs"]] == [NOON, EVENING, "2005-03-18"]


def test_what_a_timeline_left_out_does_not_come_back_with_another_statement_of_its_number(database, study):
    first, second = ck(time=MORNING, value=1, version=1), ck(time=NOON, value=2, version=1)
    post(database, study, timeline("P1", first, second))
    assert put(database, study, timeline("P1", second), "*").counts.withdrawn == 1
    assert post(database, study, timeline("P1", first)).status == "stale"
    post(database, study, timeline("P1", ck(time=EVENING, value=3, version=1)))
    assert values(database, study, "P1") == [2, 3]
    post(database, study, timeline("P1", ck(time=MORNING, value=4, version=2, status="corrected")))
    assert values(database, study, "P1") == [4, 2, 3]


def test_a_preliminary_result_does_not_appear_because_a_timeline_left_the_final_one_out(database, study):
    post(database, study, timeline("P1", ck(time=MORNING, value=1, status="preliminary")))
    post(database, study, timeline("P1", ck(time=NOON, value=2)))
    put(database, study, timeline("P1"), "*")
    assert values(database, study, "P1") == []
    post(database, study, timeline("P1", ck(time=EVENING, value=3)))
    assert values(database, study, "P1") == [3]


def test_a_timeline_with_several_draws_may_be_put_as_it_was_got(database, study):
    post(database, study, timeline("P1", ck(time=MORNING, value=1), ck(time=EVENING, value=3)))
    post(database, study, timeline("P1", ck(time=NOON, value=2, status="corrected")))
    assert put(database, study, got(database, study, "P1"), "*").revision is None


WITHDRAWN = {"value": None, "unit": None, "status": "entered-in-error"}
IDENTITY = "#k1|CK|A"


def deleting(draw: str = "") -> Instruction:
    return Instruction("delete", {("labs", IDENTITY): draw})


def updating(draw: str = "") -> Instruction:
    return Instruction("update", {("labs", IDENTITY): draw})


@pytest.mark.parametrize("instruction", [Instruction("create"), updating()])
def test_what_was_deleted_can_be_created_again_and_deleted_again(database, study, instruction):
    for _ in range(3):
        assert from_feed(database, study, feed_result(), instruction=instruction).status in {"created", "changed"}
        assert values(database, study, "P1") == [1500]
        from_feed(database, study, feed_result(**WITHDRAWN), instruction=deleting())
        assert values(database, study, "P1") == []
        assert from_feed(database, study, feed_result()).status == "stale"
    from_feed(database, study, feed_result(time=NOON, value=7.0))
    assert values(database, study, "P1") == [7]


def test_what_its_source_withdrew_is_not_created_again_by_a_late_retry(database, study):
    from_feed(database, study, feed_result(), instruction=Instruction("create"))
    from_feed(database, study, feed_result(**WITHDRAWN))
    assert from_feed(database, study, feed_result(), instruction=Instruction("create")).status == "stale"
    assert values(database, study, "P1") == []


def test_an_update_of_one_draw_may_move_its_time_and_leaves_the_others(database, study):
    from_feed(database, study, feed_result(value=1.0))
    from_feed(database, study, feed_result(time=NOON, value=2.0))
    moved = from_feed(database, study, feed_result(time=EVENING, value=1.0, status="corrected"), instruction=updating())
    assert moved.counts.superseded == 1
    assert values(database, study, "P1") == [2, 1]
    with database.reading() as connection:
        found = search(connection, study, Criteria("Observation"), 99, limit=9)
    assert {(each.fact.value, each.draw == "") for each in found} == {(1, True), (2, False)}
    assert from_feed(database, study, feed_result(value=1.0), instruction=updating()).status == "stale"
    from_feed(database, study, feed_result(time="2005-04-01", value=9.0))
    assert values(database, study, "P1") == [2, 1, 9]


def test_an_update_that_its_source_issued_earlier_does_not_move_the_time(database, study):
    from_feed(database, study, feed_result(issued="2005-03-18T00:00:00Z"))
    older = feed_result(time=NOON, value=2.0, issued="2005-03-17T00:00:00Z")
    assert from_feed(database, study, older, instruction=updating()).counts.late == 1
    assert values(database, study, "P1") == [1500]
    post(database, study, timeline("P1", ck("k2", value=3)))
    assert sorted(values(database, study, "P1")) == [3, 1500]


def test_each_draw_is_a_resource_and_pages_show_each_once(database, study):
    times = [f"2005-03-{day:02d}T09:00:00+09:00" for day in range(1, 8)]
    for n, time in enumerate(times):
        post(database, study, timeline("P1", ck(time=time, value=n), ck("k0", value=50)))
        post(database, study, timeline("P2", ck(time=time, value=10 + n)))
    for criteria in (Criteria("Observation"), Criteria("Observation", patients=("P1", "P2"))):
        seen: list[Any] = []
        with database.reading() as connection:
            while page := search(connection, study, criteria, 99, after=seen[-1].id if seen else None, limit=2):
                seen += page
                assert len(seen) <= 20, "the walk goes in circles"
            assert count(connection, study, criteria, 99) == 15
        assert len({each.id for each in seen}) == 15
    with database.reading() as connection:
        for each in seen:
            [version] = resources.history(connection, study, "Observation", each.id)
            assert version == each
            assert search(connection, study, Criteria("Observation", ids=(each.id,)), 99, limit=2) == [each]


def test_a_client_id_names_one_draw(database, study):
    for time in (MORNING, NOON):
        from_feed(database, study, feed_result(time=time))
    with database.writing() as connection:
        found = search(connection, study, Criteria("Observation"), 99, limit=9)
        key = resources.study_key(connection, study)
        named = [
            ("Observation", f"id-{n}", client_ids.ClientId("P1", each.patient_key, "labs", IDENTITY, each.draw))
            for n, each in enumerate(found)
        ]
        client_ids.add(connection, key, named)
        assert [client_ids.find(connection, study, *name[:2]) for name in named] == [name[2] for name in named]


def test_the_erasure_of_a_person_removes_every_draw(database, study):
    post(database, study, timeline("P1", ck(time=MORNING), ck(time=NOON), ck(time="2005-03-16", value=3)))
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
        assert verify(connection, study).faults == ()
    with database.reading() as connection:
        assert count(connection, study, Criteria("Observation"), 99) == 0


def test_a_history_of_several_draws_says_why_each_version_does_not_stand(database, study):
    from app.store.history import versions

    post(database, study, timeline("P1", ck(time=MORNING, value=1), ck(time=NOON, value=2)))
    post(database, study, timeline("P1", ck(time=MORNING, value=3), ck(value=4)))
    with database.reading() as connection:
        found = versions(connection, study, "P1", 99)
    assert {(each.fact["value"], each.reason) for each in found} == {
        (1, "superseded"), (2, None), (3, None), (4, "set_aside")
    }  # fmt: skip


def histories(*stated: dict[str, Any]) -> list[History]:
    return [history(timeline("P1", each)) for each in stated]


def test_several_draws_may_come_in_one_submission_but_not_two_contents_of_one(database, study):
    from app.errors import InvalidDocument

    with database.writing() as connection:
        circumstances = {"format": "t", "client": None, "received_at": now()}
        submit(connection, study, histories(ck(time=MORNING), ck(time=NOON)), **circumstances)
        with pytest.raises(InvalidDocument):
            submit(connection, study, histories(ck(time=EVENING, value=1), ck(time=EVENING, value=2)), **circumstances)
    assert values(database, study, "P1") == [1101, 1101]
