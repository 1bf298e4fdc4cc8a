"""Facts that may be one and wait for a decision are known to analyses, however the study is read."""

import json
from dataclasses import replace
from functools import partial

import pytest

from app.access.kept_cohorts import KeptCohorts
from app.access.study_answers import StudyQuestion, answer_bytes, answer_of_study
from app.access.work import Workplace
from app.analyses import QUESTIONS
from app.analyses.undecided_facts import UNDECIDED
from app.bulk.study_report import export_files, report_here
from app.derive.study import DerivedStudy
from app.protocol.presets import SEED_2008
from app.store.known_cohorts import known_cohort
from app.store.revisions import AsOf
from app.store.segments import Segments
from app.store.studies import study_key
from app.store.timelines import cohorts_with_sources
from app.timeline import cohort_batches
from tests.store.posts import columns, columns_of, post, timeline
from tests.store.test_decisions import MORNING, decide, dose, ehr, event, latest, sent, waiting
from tests.store.test_duplicate_periods import of
from tests.store.test_merged_duplicates import between, merge, undo

ALL = ("infusion", "medication", "adverse_event")


def told(database, study, *, who="P1", **facts):
    return post(database, study, timeline(who, **facts))


@pytest.fixture
def three(database, study):
    """A patient of whom a pair of each kind waits, and one of whom none does."""
    told(database, study, infusions=[dose()], medications=[of("CRF", end=None)], adverse_events=[event()])
    told(
        database,
        study,
        infusions=[ehr()],
        medications=[of("EHR", end="2005-05-01")],
        adverse_events=[event("2005-04-12T08:00:00+09:00", id="1", source="EHR")],
    )
    told(database, study, who="P2", infusions=[dose("2005-06-01")])
    return {item.pair.kind: item.pair for item in waiting(database, study)}


def read_by_all(database, study, revision=None, base=None):
    """The cohort at a revision, which all ways of reading give alike."""
    at = latest(database, study) if revision is None else revision
    whole = columns(database, study, at)
    with database.reading() as connection:
        parts = [part for part, _ in cohorts_with_sources(connection, study, at)]
        bases = [known_cohort(connection, study_key(connection, study), each, [])
                 for each in ([base] if base else [])]  # fmt: skip
        later = known_cohort(connection, study_key(connection, study), at, bases).cohort
    again = cohort_batches.cohort_of(list(cohort_batches.batches_of(whole)), zoned=whole.zoned)
    for other in (later, again):
        assert (other.patients, other.digest) == (whole.patients, whole.digest)
        assert replace(other).digest == whole.digest
    assert tuple(row for part in parts for row in part.patients) == whole.patients
    assert {each for part in parts for each in part.digests.tolist()} == {*whole.digests.tolist()}
    for row in whole.patients:
        assert columns_of(database, study, row.id, at).patients in ((row,), ())
    return whole


def pairs(cohort):
    """How many pairs of each kind wait in treated patients."""
    study = DerivedStudy(cohort, SEED_2008)
    return {kind: int(study.undecided(kind).sum()) for kind in ALL}


def asked(database, study, name, revision=None, kept=None, **options):
    given = QUESTIONS[name].options_type(**options)
    question = StudyQuestion(name, study, AsOf(revision), given)
    place = Workplace(database, KeptCohorts(0) if kept is None else kept)
    return json.loads(answer_of_study(question, partial(answer_bytes, name, given), place))


def caveats(database, study, name, revision=None, **options):
    found = asked(database, study, name, revision, **options)["caveats"]
    return {each["code"]: each for each in found if each["code"].startswith("undecided")}


def test_what_waits_is_known_however_the_study_is_read(database, study, three):
    cohort = read_by_all(database, study, base=1)
    assert pairs(cohort) == dict.fromkeys(ALL, 1)
    assert [pair.last_day for pair in cohort.patients[0].undecided] == [12885, 12884, 12904]
    assert cohort.patients[1].undecided is None
    for at in (1, 2):
        assert pairs(read_by_all(database, study, at, base=3)) == dict.fromkeys(ALL, at - 1)


def test_a_decision_ends_the_caveat_and_taking_it_back_brings_it_again(database, study, three):
    before = columns(database, study, latest(database, study)).digest
    for said in ("same", "different"):
        for kind, pair in three.items():
            decide(database, study, pair, said)
            assert pairs(read_by_all(database, study, base=3))[kind] == 0
        assert pairs(read_by_all(database, study, base=2)) == dict.fromkeys(ALL, 0)
    for pair in three.values():
        decide(database, study, pair, "undecided")
    cohort = read_by_all(database, study, base=5)
    assert (pairs(cohort), cohort.digest) == (dict.fromkeys(ALL, 1), before)
    assert pairs(read_by_all(database, study, 6, base=latest(database, study))) == dict.fromkeys(ALL, 0)


def test_an_answer_says_what_is_counted_twice_and_where_to_decide(database, study, three):
    [caveat] = [caveats(database, study, "steroid-sparing")["undecided_glucocorticoids"]]
    assert caveat == {
        "code": "undecided_glucocorticoids",
        "applies": True,
        "text": "Where two periods of a glucocorticoid may be one, nobody has decided yet; a person decides on the "
        "worklist of the study (`set-aside`) or the page Add data. Pairs of periods of a glucocorticoid that may be "
        "one, and whose doses are added up until a person decides: 1, in 1 of 2 patients.",
    }
    assert set(caveats(database, study, "safety")) == {*UNDECIDED.values()}
    assert set(caveats(database, study, "ck-change")) == {"undecided_infusions", "undecided_glucocorticoids"}
    assert caveats(database, study, "steroid-sparing", 1) == {}
    for pair in three.values():
        decide(database, study, pair)
    assert caveats(database, study, "steroid-sparing") == caveats(database, study, "safety") == {}
    assert set(caveats(database, study, "steroid-sparing", 3)) == {"undecided_infusions", "undecided_glucocorticoids"}


def test_a_process_that_has_answered_before_says_the_same(database, study, three):
    kept = KeptCohorts(10**9)
    for at in (1, 2, 3):
        assert asked(database, study, "caveats", at, kept) == asked(database, study, "caveats", at)
    decide(database, study, three["medication"])
    assert asked(database, study, "caveats", None, kept) == asked(database, study, "caveats")
    decide(database, study, three["medication"], "undecided")
    assert asked(database, study, "caveats", None, kept) == asked(database, study, "caveats")
    assert asked(database, study, "caveats", 2, kept) == asked(database, study, "caveats", 2)


def test_a_segment_has_what_waits(database, study, three, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "segments", Segments(tmp_path / "segments", database.keys, least_rows=0))
    kept = KeptCohorts(10**9)
    from_rows = asked(database, study, "caveats", None, kept)
    kept.write_segments(database)
    with database.reading() as connection:
        read = database.segments.read(connection, study_key(connection, study))
    assert pairs(read.cohort) == dict.fromkeys(ALL, 1)
    assert asked(database, study, "caveats", None, KeptCohorts(10**9)) == from_rows
    decide(database, study, three["infusion"])
    assert asked(database, study, "caveats", None, KeptCohorts(10**9)) == asked(database, study, "caveats")


def test_the_report_of_exported_files_has_the_caveats(database, study, three, tmp_path):
    export_files(database, study, str(tmp_path / "files"))
    report = json.loads(report_here(str(tmp_path / "files")))
    assert report["provenance"]["data"] == columns(database, study, latest(database, study)).digest
    found = [each["code"] for part in report["analyses"].values() for each in part["caveats"] if each["applies"]]
    assert {"undecided_infusions", "undecided_glucocorticoids", "undecided_adverse_events"} <= set(found)


def test_a_patient_in_two_courses_is_counted_once(database, study):
    told(database, study, infusions=[dose("2005-01-11"), dose("2005-06-11")], medications=[of("CRF", end=None)])
    told(database, study, medications=[of("EHR", dose=10, end=None)])
    found = caveats(database, study, "steroid-sparing", by="course")["undecided_glucocorticoids"]
    assert found["text"].endswith("until a person decides: 1, in 1 of 1 patients.")


def test_pairs_of_merged_records_wait_until_the_merge_is_undone_or_a_person_decides(database, study):
    told(database, study, who="P1", infusions=[dose()], medications=[of("CRF", end=None)])
    told(database, study, who="P2", infusions=[ehr()], medications=[of("EHR", dose=10, end=None)])
    nobody = dict.fromkeys(ALL, 0)
    assert pairs(read_by_all(database, study)) == nobody
    merge(database, study, "P2", "P1")
    both = nobody | {"infusion": 1, "medication": 1}
    assert pairs(read_by_all(database, study, base=2)) == both
    assert pairs(read_by_all(database, study, 2, base=3)) == nobody
    for item in between(database, study):
        decide(database, study, item.pair, who="P2")
    assert pairs(read_by_all(database, study, base=3)) == nobody
    undo(database, study, "P2", "P1")
    merge(database, study, "P2", "P1")
    assert pairs(read_by_all(database, study, base=2)) == nobody


def test_a_listed_pair_of_a_merged_record_is_one_pair_of_the_person(database, study):
    for who in ("P1", "P2"):
        told(database, study, who=who, infusions=[dose()])
        told(database, study, who=who, infusions=[ehr()])
    assert pairs(read_by_all(database, study))["infusion"] == 2
    merge(database, study)
    assert pairs(read_by_all(database, study, base=2))["infusion"] == 1
    [item] = [item for item in waiting(database, study) if item.patient == "P1"]
    decide(database, study, item.pair, "different")
    assert pairs(read_by_all(database, study, base=2))["infusion"] == 0


def test_what_other_decisions_join_does_not_wait(database, study):
    sent(database, study, dose())
    sent(database, study, ehr())
    sent(database, study, dose(id="c1", source="CRF"))
    first, second, _ = (item.pair for item in waiting(database, study))
    assert pairs(read_by_all(database, study))["infusion"] == 3
    decide(database, study, first)
    assert pairs(read_by_all(database, study))["infusion"] == 2
    decide(database, study, second)
    assert (pairs(read_by_all(database, study))["infusion"], len(waiting(database, study))) == (0, 1)


def test_a_proof_that_a_correction_ends_waits_and_not_once_it_holds_again(database, study):
    sent(database, study, dose(MORNING, dose=None, unit=None))
    sent(database, study, ehr(version=1))
    sent(database, study, dose(MORNING, id="c1", source="CRF"))
    decide(database, study, waiting(database, study)[0].pair, "different")
    sent(database, study, ehr(version=2, time="2005-04-11"))
    assert pairs(read_by_all(database, study))["infusion"] == len(waiting(database, study)) > 0
    sent(database, study, ehr(version=3, status="entered-in-error"))
    assert pairs(read_by_all(database, study))["infusion"] == len(waiting(database, study))


@pytest.mark.parametrize(
    ("facts", "again", "kind"),
    [
        ({"medications": [of("CRF", start="2004-01-01", end="2004-06-01")]},
         {"medications": [of("EHR", start="2004-02-01", end="2004-06-01")]}, "medication"),
        ({"infusions": [dose(product="albumin")]}, {"infusions": [ehr(product="albumin")]}, "infusion"),
        ({"adverse_events": [event("2004-04-12")]},
         {"adverse_events": [event("2004-04-12", id="1", source="EHR")]}, "adverse_event"),
    ],
)  # fmt: skip
def test_what_is_in_no_figure_is_not_counted(database, study, facts, again, kind):
    told(database, study, **{"infusions": [dose("2005-01-11")]} | facts)
    told(database, study, **again)
    cohort = columns(database, study, latest(database, study))
    assert [pair.kind for pair in cohort.patients[0].undecided or ()] == [kind]
    assert pairs(cohort) == dict.fromkeys(ALL, 0)
