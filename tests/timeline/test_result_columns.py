"""Results that are read by columns are what they are one by one: the same facts, faults, repeats and places."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.readers import contract
from app.timeline import normalize
from app.timeline.document import LabResult, Timeline
from app.timeline.normalize import Reading
from app.timeline.result_columns import facts_of_labs, facts_of_series, labs_by_column
from app.timeline.times import Moment, read_time, read_times
from tests.repetition import repeats

LATEST = 4 * 10**15


def mostly(usual, *others):
    """The usual values nine times of ten, so that most documents are read by columns."""
    return st.one_of(*[usual] * 9, st.sampled_from(others))


_CODES = mostly(st.sampled_from(["CK", "LDH", "2157-6"]), "ALDOLASE", "MYOGLOBIN")
_TIMES = mostly(
    st.sampled_from([
        "2005-03-16", "2005-03-16T09:48:00+09:00", "2005-03-16T00:48:00Z", "2005-03-16T00:48:00.25-00:00",
        "2005-04-11", "2005-04-11T23:59:59-11:30",
    ]),
    "", "2005-02-30", "2005-03-16T09:48:00", "1951-01-01", "1899-12-31", "2999-01-01", "noon",
)  # fmt: skip
_VALUES = st.sampled_from([0, -0.0, 1, 163, 1005.5, 90_000])
_UNITS = mostly(st.sampled_from(["U/L", "IU/L"]), "ukat/L", "ug/L", "\uff35/L", "furlong")
_UPPERS = st.sampled_from([None, None, 163, 163.5, 20])
_STATUSES = mostly(st.sampled_from([None, "final", "preliminary"]), "corrected", "entered-in-error")
_LOWERS = mostly(st.sampled_from([None, 0, -0.0]), 10, 100)
_NUMBERS = st.sampled_from([None, "k1", "k2"])
_COMPARATORS = mostly(st.none(), "<")
_LABELS = st.sampled_from([None, "A", "B"])
_LAB = st.fixed_dictionaries({
    "code": _CODES, "time": _TIMES, "value": mostly(_VALUES, None), "unit": mostly(_UNITS, None),
    "upper_limit": _UPPERS, "lower_limit": _LOWERS, "comparator": _COMPARATORS, "lab": _LABELS, "source": _LABELS,
    "id": _NUMBERS, "status": _STATUSES, "version": mostly(st.none(), 1, 2),
    "issued": mostly(st.sampled_from([None, "2005-03-17T08:00:00Z", "2005-03-18T08:00:00.5+09:00"]), "", "2005-03-17",
                     "1951-01-01T00:00:00Z", "2999-01-01T00:00:00Z"),
    "code_text": mostly(st.none(), "Creatine kinase", "Sodium"),
})  # fmt: skip


@st.composite
def a_series(draw):
    count = draw(st.integers(0, 6))

    def column(values):
        return st.lists(values, min_size=count, max_size=count)

    def optional(values):
        return st.one_of(st.none(), column(values), st.lists(values, max_size=7) if draw(st.booleans()) else st.none())

    return {
        "code": draw(_CODES), "unit": draw(_UNITS), "upper_limit": draw(_UPPERS), "lower_limit": draw(_LOWERS),
        "lab": draw(_LABELS), "source": draw(_LABELS), "times": draw(column(_TIMES)), "values": draw(column(_VALUES)),
        "ids": draw(optional(_NUMBERS)), "statuses": draw(optional(_STATUSES)),
        "comparators": draw(optional(_COMPARATORS)), "upper_limits": draw(optional(_UPPERS)),
    }  # fmt: skip


_DOCUMENTS = st.fixed_dictionaries({
    "patient": st.fixed_dictionaries({"id": st.just("P1"), "birth_year": st.sampled_from([None, 1953])}),
    "labs": st.lists(_LAB, max_size=4),
    "lab_series": st.lists(a_series(), max_size=2),
})  # fmt: skip


def read(timeline: Timeline) -> tuple[str, ...]:
    """Everything that a reading gives, as text: then 0.0 and -0.0 differ, and 1 and 1.0."""
    reading = Reading(LATEST)
    history = reading.history(timeline)
    places = [history.place("labs", at) for at in range(len(history.labs))]
    notes = contract.noted(history).notes
    return repr(history.labs), repr(reading.faults), repr(history.repeats), repr(places), repr(notes)


@pytest.fixture(scope="module", autouse=True)
def even_one_result_is_read_by_columns():
    few, normalize.FEW = normalize.FEW, 0
    yield
    normalize.FEW = few


@settings(max_examples=repeats(300, 2000), deadline=None)
@given(_DOCUMENTS)
def test_results_by_columns_are_the_results_one_by_one(document):
    timeline = Timeline.model_validate_json(json.dumps(document))
    by_readers = tuple(vars(result) for result in timeline.labs if result.version is result.code_text is None)
    found = read(timeline), read(timeline.model_copy(update={"labs": by_readers}))
    columns = normalize.facts_of_labs, normalize.facts_of_series
    normalize.facts_of_labs = normalize.facts_of_series = lambda *_: None
    try:
        assert found == (read(timeline), read(timeline.model_copy(update={"labs": by_readers})))
    finally:
        normalize.facts_of_labs, normalize.facts_of_series = columns


@settings(max_examples=repeats(300, 2000), deadline=None)
@given(_DOCUMENTS)
def test_results_that_are_checked_by_columns_are_the_same_results(document):
    timeline = Timeline.model_validate_json(json.dumps(document))
    by_column = labs_by_column(json.loads(json.dumps(document["labs"])))
    assert (by_column is None) == (not document["labs"])
    if by_column is not None:
        assert read(timeline.model_copy(update={"labs": by_column})) == read(timeline)


_ANYTHING = st.sampled_from([
    None, True, 0, -1, 1.5, 2, 1e7, 1e8, 2**53, 2**60, "", "A", "CK", "<", "final", "x y", "x" * 33, "y" * 65,
    "z" * 201, "\x7f", "2005-03-16", ["A"], {"A": 1},
])  # fmt: skip
_FIELDS = st.sampled_from([*LabResult.model_fields, "more"])
_USUAL = {"code": "CK", "time": "2005-03-16", "value": 7, "unit": "U/L"}


@settings(max_examples=repeats(300, 2000), deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*LabResult.model_fields, "more"]), _ANYTHING, max_size=2),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([None, 1, "labs", ["code", "time"], {}]),
)
def test_a_column_is_accepted_exactly_where_each_of_its_items_is(changes, other):
    def accepted(item):
        try:
            LabResult.model_validate(item)
        except ValidationError:
            return False
        return True

    names = dict.fromkeys(name for change in changes for name in change)
    items = [_USUAL | names | change for change in changes]
    assert (labs_by_column(items) is not None) == all(map(accepted, items))
    assert labs_by_column([*items, other]) is None
    assert labs_by_column([other, *items]) is None
    assert labs_by_column([*items, {"code": "CK"}]) is None


def test_the_usual_results_are_read_by_columns():
    usual = {"code": "CK", "unit": "U/L", "upper_limit": 163, "lab": "A"}
    document = {
        "patient": {"id": "P1"},
        "labs": [usual | {"time": "2005-03-16", "value": 1}],
        "lab_series": [usual | {"times": ["2005-03-16T09:48:00Z"], "values": [1]}],
    }
    timeline = Timeline.model_validate_json(json.dumps(document))
    assert len(facts_of_labs(timeline.labs, LATEST, 0) or ()) == 1
    assert len(facts_of_series(timeline.lab_series[0], LATEST, 0) or ()) == 1


def issued_at(*times):
    """The facts of results of one patient, born in 1953, that were issued at these times."""
    result = LabResult.model_validate({"code": "CK", "time": "2005-03-16", "value": 1, "unit": "U/L"})
    facts = facts_of_labs([vars(result) | {"issued": time} for time in times], LATEST, -6_209)
    return None if facts is None else [fact.issued for fact in facts]


def test_each_result_keeps_the_time_at_which_it_was_issued():
    at = 1_111_046_400_000_000
    assert issued_at("2005-03-17T08:00:00Z", None) == [at, None]
    assert issued_at(None, "2005-03-17T17:00:00+09:00", None, "2005-03-17T08:00:01Z") == [None, at, None, at + 10**6]
    assert issued_at(None, None) == [None, None]


@pytest.mark.parametrize("time", ["", "2005-03-17", "1951-01-01T00:00:00Z", "2999-01-01T00:00:00Z", "noon"])
def test_a_time_of_issue_that_is_none_needs_a_closer_look(time):
    assert issued_at(None, time) is None


@given(st.lists(_TIMES, min_size=1, max_size=4), st.sampled_from([0, 12_858]))
def test_many_times_are_what_each_of_them_is(texts, first):
    found, alone = read_times(texts, LATEST, first), [read_time(text, LATEST) for text in texts]
    if all(isinstance(each, Moment) and each.day >= first for each in alone):
        assert [Moment(*each) for each in zip(*found, strict=True)] == alone
    else:
        assert found is None
