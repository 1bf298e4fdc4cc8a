"""A process that has answered before gives, after any writes, the bytes of a process that begins anew."""

import itertools
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.access.kept_cohorts import KeptCohorts
from app.access.study_answers import WHOLE, StudyQuestion, answer_bytes, answer_of_study
from app.access.work import Workplace
from app.analyses import NullOptions
from app.errors import ServiceError
from app.protocol.presets import MYOSITIS_2026, SEED_2008
from app.store.erasure import erase
from app.store.revisions import AsOf, latest_number
from app.store.studies import StudyDeclaration, put_study
from tests.bench.cohort import timeline as bench_timeline
from tests.repetition import repeats
from tests.store.posts import begin_study, ck, now, post, put, timeline

numbers = itertools.count(1)
PATIENTS = st.integers(0, 7)
OPTIONS = NullOptions(null=False)
ASKED = (WHOLE, "caveats")
DAYS = st.sampled_from(["2014-12-01", "2015-06-01", "2016-02-29", "2016-03-01T23:30:00Z", "2017-01-01T08:00:00+09:00"])
DOSE = {"product": "IVIG", "dose": 30, "unit": "g"}
RESULTS = st.builds(
    lambda number, day, **more: ck(number, time=day, **more),
    st.sampled_from(["k1", "k2"]),
    DAYS,
    value=st.sampled_from([90, 900.5]),
    upper_limit=st.sampled_from([None, 163, 300]),
    lab=st.sampled_from([None, "A", "ONCE"]),
    comparator=st.sampled_from([None, None, "<"]),
    status=st.sampled_from(["final", "final", "corrected", "entered-in-error"]),
)
FACTS = st.one_of(
    st.builds(lambda found: {"labs": [found]}, RESULTS),
    st.builds(lambda day: {"infusions": [DOSE | {"time": day, "id": day[:4]}]}, DAYS),
    st.builds(lambda day: {"medications": [{"drug": "azathioprine", "start": day[:10], "end": None}]}, DAYS),
    st.builds(lambda day: {"adverse_events": [{"term": "rash", "onset": day}]}, DAYS),
    st.builds(lambda day: {"ended": {"date": day[:10], "reason": "died"}}, DAYS),
)


def name(number):
    return f"P{number:06d}"


def patient(number):
    """A patient with a year of results."""
    found = bench_timeline(number)
    [series] = found["lab_series"]
    return found | {"lab_series": [series | {part: series[part][:25] for part in ("times", "values")}]}


def told(number, facts):
    return lambda database, study: post(database, study, timeline(name(number)) | facts)


def merged(number, into):
    linked = timeline(name(number), about={"merged_into": name(into)})
    return lambda database, study: post(database, study, linked)


def replaced(number, as_another):
    """As a whole patient: another one, without what arrived since, or with no facts at all."""
    found = timeline("") if as_another is None else patient(as_another)
    found = found | {"patient": found["patient"] | {"id": name(number)}}
    return lambda database, study: put(database, study, found, if_match="*", readmit=True)


def erased(number):
    def write(database, study):
        with database.writing() as connection:
            erase(connection, study, name(number), client=None, received_at=now())

    return write


def declared(protocol, zone):
    def write(database, study):
        with database.writing() as connection:
            definition = StudyDeclaration("A trial", protocol, time_zone=zone)
            put_study(connection, study, definition, client=None, received_at=now())

    return write


WRITES = st.one_of(
    st.builds(told, PATIENTS, FACTS),
    st.builds(told, PATIENTS, FACTS),
    st.builds(told, PATIENTS, FACTS),
    st.builds(merged, PATIENTS, PATIENTS),
    st.builds(replaced, PATIENTS, st.one_of(st.none(), PATIENTS)),
    st.builds(erased, PATIENTS),
    st.builds(declared, st.sampled_from([SEED_2008, MYOSITIS_2026]), st.sampled_from(["Asia/Tokyo", "Etc/GMT+12"])),
)


def answers(database, study, revision, kept):
    place = Workplace(database, kept)
    for asked, protocol in itertools.product(ASKED, (None, SEED_2008)):
        question = StudyQuestion(asked, study, AsOf(revision), OPTIONS, protocol)
        try:
            yield answer_of_study(question, partial(answer_bytes, asked, OPTIONS), place)
        except ServiceError as refused:
            yield type(refused)


@pytest.mark.slow
@settings(max_examples=repeats(2, thorough=40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.tuples(st.lists(WRITES, min_size=1, max_size=3), st.integers(0, 6)), min_size=2, max_size=3))
def test_answers_after_any_writes_are_those_of_a_process_that_begins_anew(database, steps):
    study = begin_study(database, f"warm-{next(numbers):05d}")
    for number in range(5):
        post(database, study, patient(number))
    kept = KeptCohorts(10**9)
    list(answers(database, study, None, kept))
    for writes, back in steps:
        for write in writes:
            with suppress(ServiceError):
                write(database, study)
        with database.reading() as connection:
            latest = latest_number(connection, study)
        for revision in dict.fromkeys((latest, max(0, latest - back))):
            assert [*answers(database, study, revision, kept)] == [*answers(database, study, revision, KeptCohorts(0))]
