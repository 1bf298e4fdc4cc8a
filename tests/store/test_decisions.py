"""The same infusion or adverse event from two feeds: noted, decided, counted once, taken back."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.errors import Conflict, Erased, NotFound
from app.store import decisions, worklist
from app.store.erasure import erase
from app.store.hash_chain import verify
from app.store.ledger import submit_each
from app.store.rehearsal import rehearsal
from app.store.studies import study_key
from app.store.timelines import cohorts_with_sources, sources
from app.timeline.cohort import Cohort
from app.timeline.same_facts import pair_of
from tests.repetition import repeats
from tests.store.posts import (
    begin_study,
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

MORNING = "2005-04-11T10:00:00+09:00"


def dose(time="2005-04-11", **more):
    return {"time": time, "product": "IVIG", "dose": 30, "unit": "g"} | more


def ehr(number="e1", time=MORNING, **more):
    return dose(time, id=number, source="EHR") | more


def event(onset="2005-04-12", **more):
    return {"onset": onset, "term": "headache", "severity": "mild", "serious": False, "related": "possible"} | more


def sent(database, study, *infusions, who="P1", events=(), **more):
    return post(database, study, timeline(who, infusions=list(infusions), adverse_events=list(events)), **more)


def latest(database, study):
    return revisions(database, study)[-1].number


def counted(database, study, revision=None):
    """How many infusions and events analyses count. All ways to read the study agree."""
    at = latest(database, study) if revision is None else revision
    whole = columns(database, study, at)
    with database.reading() as connection:
        parts = list(cohorts_with_sources(connection, study, at))
        named = sources(connection, study, at, whole)
    for kind in ("infusions", "events"):
        assert sum(len(getattr(part, kind)) for part, _ in parts) == len(getattr(whole, kind))
        assert [*getattr(named, kind)] == [each for _, found in parts for each in getattr(found, kind)]
    for row in whole.patients:
        assert columns_of(database, study, row.id, at).digests[0] in whole.digests
    return len(whole.infusions), len(whole.events)


def digest(database, study):
    return columns(database, study, latest(database, study)).digest


def waiting(database, study, revision=None):
    with database.reading() as connection:
        at = latest(database, study) if revision is None else revision
        found = worklist.listed_items(connection, study_key(connection, study), at)
    return [item for item in found if item.pair is not None]


def decide(database, study, pair, said="same", reason="One morning.", who="P1"):
    with database.writing() as connection:
        return decisions.decide(connection, study, who, pair.name, said, reason, client="registry", received_at=now())


def standing(database, study):
    with database.reading() as connection:
        key = study_key(connection, study)
        return decisions.listed_decisions(connection, key, latest(database, study))


def check(database, study):
    with database.reading() as connection:
        assert verify(connection, study).faults == ()


def notes(outcome, kind="infusions"):
    return [note.code for fate in outcome.fates if fate.kind == kind for note in fate.notes]


# --- noted ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_a_date_and_a_date_time_are_noted_and_both_count(database, study, turn):
    one, other = [dose(), ehr()][::turn]
    assert notes(sent(database, study, one)) == []
    assert notes(sent(database, study, other)) == ["possible_duplicate"]
    [item] = waiting(database, study)
    assert (item.reason, item.patient, item.place) == ("possible_duplicate", "P1", "/infusions/0")
    assert item.pair == pair_of("infusion", "#e1||EHR", "@d12884|IVIG")
    assert (counted(database, study), standing(database, study)) == ((2, 0), [])
    check(database, study)


def test_what_is_sent_again_is_noted_again_and_makes_no_second_item_and_no_revision(database, study):
    sent(database, study, dose())
    sent(database, study, ehr())
    again = sent(database, study, ehr())
    assert (again.revision, notes(again)) == (None, ["unchanged", "possible_duplicate"])
    assert len(waiting(database, study)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dose(), ehr(dose=None, unit=None)),
        (dose(), ehr(product="IVIg")),
        (dose(dose=0.6, unit="g/kg"), ehr()),
        (dose(dose=30_000, unit="mg"), ehr()),
        (dose("2005-04-11T10:00:20+09:00"), ehr()),
        (dose(MORNING, dose=None, unit=None), ehr()),
        (dose(id="c1", source="CRF"), ehr()),
        (dose(id="c1"), ehr()),
        (dose("2005-04-11T00:00:00+09:00"), ehr(time="2005-04-11T00:00:00+09:00")),
    ],
)
def test_facts_that_may_be_the_same_are_noted(database, study, one, other):
    sent(database, study, one)
    assert notes(sent(database, study, other)) == ["possible_duplicate"]
    assert counted(database, study) == (2, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dose("2005-04-12"), ehr()),
        (dose(dose=20), ehr()),
        (dose(product="albumin"), ehr()),
        (dose("2005-04-11T14:00:00+09:00"), ehr()),
        (ehr("e2"), ehr("e1")),
        (ehr("e2", "2005-04-11"), ehr("e1")),
        (dose(id="n1"), dose(MORNING, id="n2")),
    ],
)
def test_facts_that_are_two_are_not_noted(database, study, one, other):
    sent(database, study, one)
    assert notes(sent(database, study, other)) == []
    assert (counted(database, study), waiting(database, study)) == ((2, 0), [])


def test_a_course_of_consecutive_days_is_compared_day_by_day(database, study):
    sent(database, study, *[dose(f"2005-04-{day}") for day in (11, 12, 13, 14, 15)])
    hours = [(day, hour) for day in (11, 12, 13, 14, 15) for hour in ("09", "15")]
    twice_a_day = [ehr(f"e{day}{hour}", f"2005-04-{day}T{hour}:00:00+09:00") for day, hour in hours]
    sent(database, study, *twice_a_day)
    assert len(waiting(database, study)) == 10
    for item in waiting(database, study):
        decide(database, study, item.pair)
    assert counted(database, study) == (10, 0)


def test_the_zone_of_the_study_decides_the_day_of_an_instant(database, study):
    home = begin_study(database, f"{study}-zoned", time_zone="Asia/Tokyo")
    for place in (study, home):
        sent(database, place, dose("2005-04-12"))
        sent(database, place, ehr(time="2005-04-11T23:30:00Z"))
    assert (waiting(database, study), len(waiting(database, home))) == ([], 1)
    decide(database, home, waiting(database, home)[0].pair)
    assert counted(database, home) == (1, 0)


@pytest.mark.parametrize(
    ("one", "other", "noted"),
    [
        (event(), event("2005-04-12T08:00:00+09:00", id="1", source="EHR"), True),
        (event(), event("2005-04", id="1", source="EHR"), True),
        (event(None), event(None, id="1", source="EHR"), True),
        (event(), event(id="1", source="EHR", term="Headache "), True),
        (event(), event(id="1", source="EHR", severity="severe"), True),
        (event(), event(None, id="1", source="EHR"), False),
        (event("2005-03"), event("2005-04", id="1", source="EHR"), False),
        (event(), event(id="1", source="EHR", term="rash"), False),
        (event(), event("2005-04-13", id="1", source="EHR"), False),
    ],
)
def test_events_of_one_term_are_compared_by_onset(database, study, one, other, noted):
    sent(database, study, events=[one])
    second = sent(database, study, events=[other])
    assert notes(second, "events") == (["possible_duplicate"] if noted else [])
    assert (counted(database, study), len(waiting(database, study))) == ((0, 2), noted)


def test_a_correction_that_sets_the_facts_apart_mends_the_item(database, study):
    sent(database, study, dose())
    sent(database, study, ehr(version=1))
    sent(database, study, ehr(version=2, time="2005-04-18T10:00:00+09:00"))
    assert (waiting(database, study), len(waiting(database, study, 2))) == ([], 1)
    check(database, study)


def test_a_withdrawal_mends_the_item(database, study):
    sent(database, study, dose())
    sent(database, study, ehr())
    sent(database, study, ehr(status="entered-in-error"))
    assert (waiting(database, study), counted(database, study)) == ([], (1, 0))


# --- proven -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_the_same_instant_product_and_dose_prove_that_two_sources_mean_one_infusion(database, study, turn):
    one, other = [dose("2005-04-11T01:00:00Z", dose=30_000, unit="mg"), ehr()][::turn]
    sent(database, study, one)
    assert notes(sent(database, study, other)) == ["counted_once"]
    assert (counted(database, study), counted(database, study, 1)) == ((1, 0), (1, 0))
    [found] = standing(database, study)
    assert (found.decision.decided, found.decision.by, found.at) == ("proven", None, None)
    assert len(got(database, study, "P1")["infusions"]) == 2
    assert sent(database, study, one).revision is None
    assert waiting(database, study) == []
    check(database, study)


def test_a_proven_pair_counts_twice_once_a_correction_ends_the_proof(database, study):
    sent(database, study, dose(MORNING))
    sent(database, study, ehr(version=1))
    sent(database, study, ehr(version=2, dose=20))
    assert counted(database, study) == (2, 0)
    sent(database, study, ehr(version=3, dose=30))
    assert counted(database, study) == (1, 0)


def test_two_facts_of_one_submission_are_never_proven_to_be_one(database, study):
    outcome = sent(database, study, dose(MORNING), ehr())
    assert notes(outcome) == ["possible_duplicate"] * 2
    assert (counted(database, study), len(waiting(database, study))) == ((2, 0), 1)


def test_what_was_stored_before_and_is_sent_again_is_noted_and_not_proven(database, study):
    sent(database, study, dose(MORNING), ehr())
    before = digest(database, study)
    assert notes(sent(database, study, ehr())) == ["unchanged", "possible_duplicate"]
    assert digest(database, study) == before


def test_two_bottles_of_one_source_both_count_beside_an_infusion_of_another(database, study):
    sent(database, study, ehr("b1"), ehr("b2"))
    sent(database, study, dose(MORNING))
    assert counted(database, study) == (2, 0)


def test_an_event_is_proven_by_all_that_analyses_read(database, study):
    at = "2005-04-12T08:00:00+09:00"
    sent(database, study, events=[event(at)])
    assert notes(sent(database, study, events=[event(at, id="1", source="EHR")]), "events") == ["counted_once"]
    other = event(at, id="2", source="CRF", related="unrelated")
    assert set(notes(sent(database, study, events=[other]), "events")) == {"possible_duplicate"}
    assert counted(database, study) == (0, 2)


# --- decided ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(database, study):
    sent(database, study, dose(course=1))
    sent(database, study, ehr())
    return waiting(database, study)[0].pair


def test_of_the_same_infusion_the_one_with_the_instant_counts_with_its_fields_alone(database, study, pair):
    done = decide(database, study, pair)
    assert (done.status, done.revision, revisions(database, study)[-1].format) == ("decided", 3, "decision")
    assert (counted(database, study), counted(database, study, 2)) == ((1, 0), (2, 0))
    rows = columns(database, study, 3).infusions
    assert (rows.instant.tolist(), rows.course.tolist()) == ([1113181200000000], [0])
    assert (waiting(database, study), len(waiting(database, study, 2))) == ([], 1)
    [found] = standing(database, study)
    assert (found.patient, found.decision[1:], found.revision) == ("P1", ("same", "registry", "One morning."), 3)
    check(database, study)


def test_the_same_decision_again_changes_nothing_and_another_takes_its_place(database, study, pair):
    decide(database, study, pair)
    assert decide(database, study, pair) == decisions.DecisionOutcome("unchanged", 3)
    assert decide(database, study, pair, reason="Checked.").revision == 4
    assert decide(database, study, pair, "different").revision == 5
    assert (counted(database, study), waiting(database, study)) == ((2, 0), [])
    assert decide(database, study, pair).revision == 6
    assert counted(database, study) == (1, 0)
    check(database, study)


def test_what_is_taken_back_counts_twice_again_and_waits_on_the_worklist(database, study, pair):
    before = digest(database, study)
    decide(database, study, pair)
    assert decide(database, study, pair, "undecided", "A mistake.").status == "taken_back"
    assert (counted(database, study), digest(database, study)) == ((2, 0), before)
    assert [item.pair for item in waiting(database, study)] == [pair]
    assert decide(database, study, pair, "undecided").status == "unchanged"
    assert sent(database, study, ehr()).revision is None
    assert decide(database, study, pair).status == "decided"
    assert (counted(database, study), waiting(database, study)) == ((1, 0), [])
    check(database, study)


def test_a_proven_pair_can_be_decided_and_is_not_proven_again(database, study):
    sent(database, study, dose(MORNING))
    sent(database, study, ehr())
    [found] = standing(database, study)
    decide(database, study, found.decision.pair, "different", "Two arms.")
    sent(database, study, ehr(version=2))
    assert (counted(database, study), waiting(database, study)) == ((2, 0), [])
    decide(database, study, found.decision.pair, "undecided", "Unsure.")
    sent(database, study, ehr(version=3))
    assert (counted(database, study), len(waiting(database, study))) == ((2, 0), 1)


def test_a_decision_stays_when_both_feeds_are_sent_or_put_again(database, study, pair):
    decide(database, study, pair)
    both = digest(database, study)
    sent(database, study, ehr())
    sent(database, study, dose(course=1))
    assert (latest(database, study), digest(database, study)) == (3, both)
    document = got(database, study, "P1")
    tag = etag(database, study, "P1")
    assert put(database, study, document, tag).status == "unchanged"
    del document["decisions"]
    assert put(database, study, document, tag).status == "unchanged"
    assert (counted(database, study), len(standing(database, study))) == ((1, 0), 1)


def test_the_other_fact_counts_when_the_one_that_counted_is_withdrawn(database, study, pair):
    decide(database, study, pair)
    sent(database, study, ehr(status="entered-in-error"))
    rows = columns(database, study, latest(database, study)).infusions
    assert (len(rows), rows.course.tolist()) == (1, [1])


def test_facts_whose_times_no_longer_agree_both_count(database, study):
    sent(database, study, dose())
    sent(database, study, ehr(version=1))
    decide(database, study, waiting(database, study)[0].pair)
    sent(database, study, ehr(version=2, time="2005-04-18T10:00:00+09:00"))
    assert counted(database, study) == (2, 0)
    sent(database, study, ehr(version=3))
    assert counted(database, study) == (1, 0)


def test_three_feeds_are_one_through_the_fact_between_them(database, study):
    sent(database, study, dose())
    sent(database, study, ehr())
    sent(database, study, dose(id="c1", source="CRF"))
    pairs = {item.pair for item in waiting(database, study)}
    assert len(pairs) == 3
    without = pair_of("infusion", "#c1||CRF", "#e1||EHR")
    for pair in pairs - {without}:
        decide(database, study, pair)
    assert counted(database, study) == (1, 0)
    decide(database, study, without, "different")
    assert counted(database, study) == (2, 0)  # the one between them is one with either of them


def test_a_decision_of_a_merged_record_holds_for_the_person(database, study, pair):
    decide(database, study, pair)
    sent(database, study, dose("2005-06-01"), who="P2")
    post(database, study, timeline("P1", about={"merged_into": "P2"}))
    assert counted(database, study) == (2, 0)


def test_an_item_about_two_facts_cannot_be_dismissed(database, study, pair):
    number = waiting(database, study)[0].number
    with database.writing() as connection, pytest.raises(Conflict):
        worklist.dismiss(connection, study, number, "duplicate", None, client=None, received_at=now())


def test_a_pair_that_was_never_listed_cannot_be_decided(database, study, pair):
    for who, unknown in (("P1", pair_of("infusion", "#a||", "#b||")), ("P2", pair)):
        with pytest.raises(NotFound):
            decide(database, study, unknown, who=who)


def test_the_erasure_of_the_person_takes_the_decision_and_the_item(database, study, pair):
    decide(database, study, pair, reason="said by Mrs Canary")
    sent(database, study, dose(id="c1", source="CRF"))
    with database.writing() as connection:
        erase(connection, study, "P1", client=None, received_at=now())
    with database.reading() as connection:
        found = connection.execute(text("SELECT count(*) FROM patient_attributes WHERE value LIKE '%Canary%'"))
        assert found.scalar() == 0
        key = study_key(connection, study)
        items = connection.execute(text("SELECT statement FROM set_aside WHERE study = :s"), {"s": key})
        assert {row[0] for row in items} == {None}
    assert standing(database, study) == []
    with pytest.raises(Erased):
        decide(database, study, pair)
    check(database, study)


def test_a_decision_is_rehearsed(database, study, pair):
    with rehearsal(database, study) as copy:
        assert decide(copy, study, pair).status == "decided"
        assert len(columns(copy, study, 3).infusions) == 1
    assert (latest(database, study), len(waiting(database, study))) == (2, 1)


def test_an_export_is_imported_with_its_decisions(database, study, pair):
    decide(database, study, pair)
    sent(database, study, dose("2005-05-02T10:00:00+09:00"), events=[event()])
    sent(database, study, ehr("e2", "2005-05-02T10:00:00+09:00"), events=[event(id="1", source="EHR")])
    document = got(database, study, "P1")
    assert sorted(each["decision"] for each in document["decisions"]) == ["proven", "same"]
    home = begin_study(database, f"{study}-copy")
    post(database, home, document)
    assert digest(database, home) == digest(database, study)
    assert got(database, home, "P1") == document
    assert Cohort.of_histories([history(document)]).digest == digest(database, study)
    later = len(standing(database, home))
    post(database, home, document)
    assert (latest(database, home), len(standing(database, home))) == (1, later)


def test_an_old_export_does_not_undo_a_later_decision(database, study, pair):
    decide(database, study, pair)
    document = got(database, study, "P1")
    decide(database, study, pair, "different")
    post(database, study, document)
    assert counted(database, study) == (2, 0)


# --- in any order -----------------------------------------------------------------------------------------------------

_names = itertools.count()
_DAYS = st.lists(st.integers(1, 28), min_size=1, max_size=4, unique=True)


@st.composite
def feeds(draw):
    """The infusions and events of one patient as two feeds send them: by date, and by instant with numbers."""
    by_date, by_instant, events_by_date, events_by_instant = [], [], [], []
    for day in draw(_DAYS):
        hours = draw(st.sampled_from([(9,), (9, 15)]))
        for hour in hours:
            numbered = {"id": f"c{day}-{hour}", "source": "CRF"} if len(hours) > 1 or draw(st.booleans()) else {}
            by_date.append(dose(f"2005-04-{day:02d}", **numbered))
            by_instant.append(ehr(f"e{day}-{hour}", f"2005-04-{day:02d}T{hour:02d}:00:00+09:00", version=1))
        events_by_date.append(event(f"2005-04-{day:02d}"))
        events_by_instant.append(event(f"2005-04-{day:02d}T08:00:00+09:00", id=f"v{day}", source="EHR"))
    return (by_date, events_by_date), (by_instant, events_by_instant)


def _partner(fact, others):
    """The fact of the other feed that is meant."""
    key = fact.get("id", "")[1:] or fact.get("time", fact.get("onset"))[8:10].lstrip("0")
    return next(other for other in others if other["id"][1:].split("-")[0 : key.count("-") + 1] == key.split("-"))


def _pairs(one, other):
    for kind, mine, others in zip(("infusion", "adverse_event"), one, other, strict=True):
        for fact in mine:
            there = _partner(fact, others)
            section = "infusions" if kind == "infusion" else "adverse_events"
            two = history({"patient": {"id": "P1"}, section: [fact, there]})
            yield pair_of(kind, *(each.identity for each in getattr(two, "events" if kind != "infusion" else section)))


@settings(max_examples=repeats(30, thorough=300), deadline=None)
@given(feeds(), st.randoms(use_true_random=False))
def test_two_feeds_in_any_order_count_as_one_of_them_alone(database, given_feeds, random_):
    one, other = given_feeds
    only, both = (begin_study(database, f"feeds-{next(_names)}") for _ in range(2))
    sent(database, only, *other[0], events=other[1])
    steps = [("send", 0), ("send", 1)] + [("send", random_.randrange(2)) for _ in range(2)]
    random_.shuffle(steps)
    pairs = list(_pairs(one, other))
    decided: set = set()
    for step, which in [*steps, ("send", 0), ("send", 1)]:
        infusions, events = (one, other)[which]
        if step == "send":
            sent(database, both, *infusions, events=events)
        open_pairs = {item.pair for item in waiting(database, both)}
        for pair in pairs:
            if pair in open_pairs and random_.random() < 0.5:
                decide(database, both, pair)
                decided.add(pair)
            elif pair in decided and random_.random() < 0.2:
                decide(database, both, pair, "undecided", "Unsure.")
                decided.discard(pair)
    everything = (len(one[0]) + len(other[0]), len(one[1]) + len(other[1]))
    undone = len({*pairs} - decided)
    assert sum(counted(database, both)) == len(other[0]) + len(other[1]) + undone
    for pair in pairs:
        if pair not in decided:
            decide(database, both, pair)
    assert digest(database, both) == digest(database, only)
    for pair in pairs:
        decide(database, both, pair, "undecided", "All again.")
    assert counted(database, both) == everything
    check(database, both)


def test_in_a_stream_each_line_is_a_submission_of_its_own(database, study):
    lines = [history(timeline("P1", infusions=[each])) for each in (dose(MORNING), ehr(), dose(id="c1", source="CRF"))]
    with database.writing() as connection:
        submit_each(connection, study, lines, format="n", client=None, received_at=now())
    assert (counted(database, study), len(waiting(database, study))) == ((2, 0), 2)
    assert [each.decision.decided for each in standing(database, study)] == ["proven"]
    check(database, study)
