"""How a timeline becomes facts: what each is kept by, what falls together, and every way to be refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import FaultCode
from app.timeline.facts import KINDS, AttributeFact
from app.timeline.normalize import MOST_FAULTS
from tests.timeline.documents import document, faults, history, lab, series


def only(kind: str, item: dict):
    """The one fact that an item becomes."""
    section = "adverse_events" if kind == "events" else kind
    (fact,) = getattr(history(document(**{section: [item]})), kind)
    return fact


def identity(kind: str, item: dict) -> str:
    return only(kind, item).identity


MMT = {"code": "MMT", "time": "2005-03-16", "score": 62}
IVIG = {"time": "2005-04-11", "product": "IVIG"}
DRUG = {"drug": "prednisolone", "start": "2005-01-20"}
HEADACHE = {"term": "headache", "onset": "2005-04-12"}


# What a fact is kept by


@pytest.mark.parametrize(
    ("kind", "item", "kept_by"),
    [
        ("labs", lab(), "@CK|1110934080000000|"),
        ("labs", lab(lab="A"), "@CK|1110934080000000|A"),
        ("labs", lab(lab="A", source="LIS"), "@CK|1110934080000000|LIS"),
        ("labs", lab(time="2005-03-16"), "@CK|d12858|"),
        ("labs", lab(id="77"), "#77|CK|"),
        ("labs", lab(id="77", lab="A"), "#77|CK|A"),
        ("labs", lab(id="77", lab="A", source="LIS"), "#77|CK|LIS"),
        ("labs", lab(code="2157-6", id="77"), "#77|CK|"),
        ("labs", lab(code="LDH", id="77"), "#77|LDH|"),
        ("assessments", MMT, "@MMT|d12858|"),
        ("assessments", MMT | {"source": "rater"}, "@MMT|d12858|rater"),
        ("assessments", MMT | {"id": "9"}, "#9|MMT|"),
        ("infusions", IVIG, "@d12884|IVIG"),
        ("infusions", IVIG | {"id": "9", "source": "ward"}, "#9||ward"),
        ("medications", DRUG, "@2005-01-20|prednisolone"),
        ("medications", DRUG | {"id": "9"}, "#9||"),
        ("events", HEADACHE, "@d12885|headache"),
        ("events", {"term": "headache"}, "@|headache"),
        ("events", HEADACHE | {"id": "ae-1"}, "#ae-1||"),
    ],
)
def test_the_identity_of_a_fact(kind, item, kept_by):
    assert identity(kind, item) == kept_by


def test_two_laboratories_may_use_the_same_number():
    labs = [lab(id="77", lab="A"), lab(id="77", lab="B", value=900)]
    assert [fact.value for fact in history(document(labs=labs)).labs] == [1101, 900]


def test_one_accession_number_may_carry_many_analytes():
    labs = [lab(id="77"), lab(id="77", code="LDH", value=400)]
    assert len(history(document(labs=labs)).labs) == 2


def test_a_result_may_come_back_by_its_loinc_code():
    labs = [lab(), lab(code="2157-6")]
    assert history(document(labs=labs)).repeats == 1


def test_a_date_and_a_midnight_are_not_the_same_time():
    assert identity("labs", lab(time="2005-03-16")) != identity("labs", lab(time="2005-03-16T00:00:00Z"))


FREE = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(st.tuples(FREE, FREE), st.tuples(FREE, FREE))
def test_two_different_identities_are_never_spelt_alike(one, other):
    def kept_by(number_or_product, source):
        return {
            identity("infusions", IVIG | {"product": source}),
            identity("assessments", MMT | {"source": source}),
            identity("infusions", IVIG | {"id": "7", "source": number_or_product}),
            identity("events", HEADACHE | {"term": number_or_product}),
        }

    shared = kept_by(*one) & kept_by(*other)
    assert len(shared) == 2 * (one[0] == other[0]) + 2 * (one[1] == other[1])


# What a fact holds


def test_a_result_in_the_canonical_unit_keeps_no_second_number():
    fact = only("labs", lab(lower_limit=45, comparator="<", lab="A"))
    assert (fact.value, fact.upper_limit, fact.lower_limit, fact.unit) == (1101, 163, 45, "U/L")
    assert (fact.given_value, fact.given_upper_limit, fact.given_lower_limit) == (None, None, None)
    assert (fact.comparator, fact.lab, fact.source, fact.status) == ("<", "A", "A", "final")


def test_a_result_in_another_unit_keeps_what_was_sent():
    fact = only("labs", lab(value=18.35, upper_limit=2.72, lower_limit=0.75, unit="ukat/L"))
    assert (fact.value, fact.upper_limit, fact.lower_limit) == (1101, 163.2, 45)
    assert (fact.given_value, fact.given_upper_limit, fact.given_lower_limit) == (18.35, 2.72, 0.75)
    assert fact.unit == "ukat/L"


def test_a_unit_in_letters_of_another_width_is_that_unit():
    wide = only("labs", lab(value=1.101, upper_limit=0.163, lower_limit=None, unit="\uff4bU\uff0fL"))
    assert (wide.unit, wide.value, wide.upper_limit) == ("kU/L", 1101, 163)


def test_the_time_is_kept_as_it_was_written():
    fact = only("labs", lab(time="2005-03-16T09:48:00.123456789+09:00"))
    assert fact.time == "2005-03-16T09:48:00.123456789+09:00"
    assert (fact.day, fact.instant, fact.utc) == (12858, 1110934080123456, False)


def test_minus_zero_is_zero():
    for sign in (0.0, -0.0):
        fact = only("labs", lab(value=sign, lower_limit=sign))
        assert (str(fact.value), str(fact.lower_limit)) == ("0.0", "0.0")
        assert str(only("labs", lab(value=sign, unit="ukat/L")).value) == "0.0"
        assert str(only("assessments", MMT | {"score": sign}).score) == "0.0"
        assert str(only("infusions", IVIG | {"dose": sign, "unit": "g"}).dose) == "0.0"
    (fact,) = history(document(lab_series=[series(times=["2005-03-16"], values=[-0.0])])).labs
    assert str(fact.value) == "0.0"


def test_a_withdrawal_needs_no_value():
    fact = only("labs", {"code": "CK", "time": "2005-03-16", "status": "entered-in-error"})
    assert (fact.value, fact.unit, fact.status) == (None, None, "entered-in-error")
    assert only("assessments", {"code": "MMT", "time": "2005-03-16", "status": "cancelled"}).score is None


def test_a_relation_may_be_answered_with_yes_or_no():
    assert [only("events", HEADACHE | {"related": r}).related for r in (True, False, "possible", None)] == [
        "true",
        "false",
        "possible",
        None,
    ]


@pytest.mark.parametrize("onset", ["2005", "2005-04"])
def test_an_event_in_a_month_or_year_is_an_event_of_unknown_onset(onset):
    [fact] = history(document(adverse_events=[HEADACHE | {"onset": onset}])).events
    assert (fact.onset, fact.day, fact.instant, fact.utc) == (onset, None, None, False)


def test_two_events_in_different_months_are_two_facts():
    months = [HEADACHE | {"onset": month} for month in ("2005-04", "2005-05", "2005", None)]
    assert len(history(document(adverse_events=months)).events) == 4


def test_an_event_without_its_onset_is_a_fact():
    fact = only("events", {"term": "headache"})
    assert (fact.onset, fact.day, fact.instant, fact.utc) == (None, None, None, False)


def test_attributes_are_json_and_only_those_that_are_stated():
    patient = {
        "id": "P01",
        "sex": "female",
        "birth_year": 1953,
        "weight_kg": 49,
        "steroid_resistant": False,
        "diagnosis": None,
    }
    read = history({"patient": patient, "ended": {"reason": "lost", "date": "2006-09-01"}})
    assert {fact.identity: fact.value for fact in read.attributes} == {
        "sex": '"female"',
        "birth_year": "1953",
        "weight_kg": "49.0",
        "steroid_resistant": "false",
        "ended": '{"date": "2006-09-01", "reason": "lost"}',
    }
    assert read.attributes[0] == AttributeFact("sex", None, None, None, None, "final", '"female"')


def test_a_history_lists_its_facts_by_kind_always_in_the_same_order():
    assert [kind for kind, _ in history(document()).kinds()] == list(KINDS)
    assert KINDS == ("attributes", "labs", "assessments", "infusions", "medications", "events")


# Columns say the same as rows


def test_a_series_is_the_same_facts_as_single_results():
    times = ["2005-03-16T09:48:00+09:00", "2005-03-23", "2005-03-30T09:00:00Z"]
    columns = series(
        times=times,
        values=[18.35, 16.75, 3],
        unit="ukat/L",
        upper_limit=2.72,
        lower_limit=0.75,
        lab="A",
        source="LIS",
        ids=["1", None, "3"],
        statuses=[None, "corrected", "preliminary"],
        comparators=[None, "<", None],
        upper_limits=[None, 3, None],
    )
    common = {"unit": "ukat/L", "lower_limit": 0.75, "lab": "A", "source": "LIS"}
    rows = [
        lab(**common, time=times[0], value=18.35, upper_limit=2.72, id="1"),
        lab(**common, time=times[1], value=16.75, upper_limit=3, status="corrected", comparator="<"),
        lab(**common, time=times[2], value=3, upper_limit=2.72, id="3", status="preliminary"),
    ]
    assert history(document(lab_series=[columns])) == history(document(labs=rows))


def test_a_series_without_results_is_no_fact():
    assert history(document(lab_series=[series(times=[], values=[])])).labs == ()


# Repeats


def test_what_is_said_twice_is_one_fact_and_counted():
    read = history(document(labs=[lab(), lab(), lab(value=1100, time="2005-03-17")], assessments=[MMT, MMT, MMT]))
    assert (len(read.labs), len(read.assessments), read.repeats) == (2, 1, 3)


def test_a_series_may_repeat_a_single_result():
    read = history(document(labs=[lab()], lab_series=[series()]))
    assert (len(read.labs), read.repeats) == (2, 1)


@pytest.mark.parametrize(
    "later",
    [{"version": 2}, {"issued": "2005-03-17T08:00:00Z"}, {"status": "corrected"}],
    ids=["version", "issued", "status"],
)
def test_an_ordered_correction_in_one_document_is_a_second_assertion(later):
    read = history(document(labs=[lab(id="77"), lab(id="77", value=1100, **later)]))
    assert [fact.value for fact in read.labs] == [1101, 1100]
    assert read.repeats == 0


@pytest.mark.parametrize(
    ("parts", "place"),
    [
        ({"labs": [lab(), lab(value=1)]}, "/labs/1"),
        ({"labs": [lab(), lab(), lab(unit="IU/L")]}, "/labs/2"),
        ({"labs": [lab(id="7"), lab(id="7", value=1)]}, "/labs/1"),
        ({"labs": [lab(id="7"), lab(id="7", time="2005-03-16T09:48:59+09:00")]}, "/labs/1"),
        ({"labs": [lab()], "lab_series": [series(values=[1, 2])]}, "/lab_series/0/times/0"),
        ({"assessments": [MMT, MMT | {"score": 63}]}, "/assessments/1"),
        ({"infusions": [IVIG, IVIG | {"dose": 1, "unit": "g"}]}, "/infusions/1"),
        ({"medications": [DRUG, DRUG | {"end": "2005-02-01"}]}, "/medications/1"),
        ({"adverse_events": [HEADACHE, HEADACHE | {"serious": True}]}, "/adverse_events/1"),
    ],
)
def test_the_same_fact_with_another_content_is_refused_where_it_stands(parts, place):
    assert faults(document(**parts)) == [(place, "conflicting_duplicate")]


# Every way to be refused


REFUSED = [
    ({"labs": [lab(time="2005-02-30")]}, "/labs/0/time", "bad_time"),
    ({"labs": [lab(time="20050316")]}, "/labs/0/time", "bad_time"),
    ({"labs": [lab(time="2005-03-16T09:48:00")]}, "/labs/0/time", "no_offset"),
    ({"labs": [lab(time="2026-11-24")]}, "/labs/0/time", "future_time"),
    ({"labs": [lab(time="1899-12-31")]}, "/labs/0/time", "out_of_range"),
    ({"labs": [lab(issued="2005-03-17")]}, "/labs/0/issued", "bad_time"),
    ({"labs": [lab(issued="2005-03-17T08:00:00")]}, "/labs/0/issued", "no_offset"),
    ({"labs": [lab(unit=None)]}, "/labs/0/unit", "unknown_unit"),
    ({"labs": [lab(unit="")]}, "/labs/0/unit", "unknown_unit"),
    ({"labs": [lab(unit="UNIT/L")]}, "/labs/0/unit", "unknown_unit"),
    ({"labs": [lab(unit="ng/mL")]}, "/labs/0/unit", "mass_unit"),
    ({"labs": [lab(unit="mcg/L")]}, "/labs/0/unit", "mass_unit"),
    ({"labs": [lab(code="MYOGLOBIN")]}, "/labs/0/unit", "unit_mismatch"),
    ({"labs": [lab(value=None)]}, "/labs/0/value", "missing"),
    ({"labs": [lab(lower_limit=164)]}, "/labs/0/lower_limit", "reversed_limits"),
    ({"lab_series": [series(times=["2005-03-16", "2005-02-30"])]}, "/lab_series/0/times/1", "bad_time"),
    ({"lab_series": [series(times=["2005-03-16", "2005-03-16T09:00:00"])]}, "/lab_series/0/times/1", "no_offset"),
    ({"lab_series": [series(unit="mg/dL")]}, "/lab_series/0/unit", "unknown_unit"),
    ({"lab_series": [series(unit="ng/mL")]}, "/lab_series/0/unit", "mass_unit"),
    ({"lab_series": [series(values=[1])]}, "/lab_series/0/values", "length_mismatch"),
    ({"lab_series": [series(ids=["1"])]}, "/lab_series/0/ids", "length_mismatch"),
    ({"lab_series": [series(ids=[])]}, "/lab_series/0/ids", "length_mismatch"),
    ({"lab_series": [series(statuses=["final"] * 3)]}, "/lab_series/0/statuses", "length_mismatch"),
    ({"lab_series": [series(comparators=[])]}, "/lab_series/0/comparators", "length_mismatch"),
    ({"lab_series": [series(upper_limits=[1])]}, "/lab_series/0/upper_limits", "length_mismatch"),
    ({"lab_series": [series(lower_limit=164)]}, "/lab_series/0/lower_limit", "reversed_limits"),
    ({"lab_series": [series(lower_limit=45, upper_limits=[None, 44])]}, "/lab_series/0/lower_limit", "reversed_limits"),
    ({"assessments": [MMT | {"time": "2005-13-01"}]}, "/assessments/0/time", "bad_time"),
    ({"assessments": [MMT | {"score": None}]}, "/assessments/0/score", "missing"),
    ({"assessments": [MMT | {"code": "HAQ", "score": 3.1}]}, "/assessments/0/score", "off_scale"),
    ({"assessments": [MMT | {"score": 6, "scale_max": 5}]}, "/assessments/0/score", "off_scale"),
    ({"assessments": [MMT | {"code": "HAQ", "score": 1, "scale_max": 3}]}, "/assessments/0/scale_max",
     "scale_not_declarable"),
    ({"infusions": [IVIG | {"time": "2027-01-01"}]}, "/infusions/0/time", "future_time"),
    ({"infusions": [IVIG | {"dose": 1}]}, "/infusions/0/unit", "dose_without_unit"),
    ({"infusions": [IVIG | {"unit": "g"}]}, "/infusions/0/unit", "dose_without_unit"),
    ({"medications": [DRUG | {"start": "2005-01-20T00:00:00Z"}]}, "/medications/0/start", "bad_time"),
    ({"medications": [DRUG | {"end": "2005-01-19"}]}, "/medications/0/end", "reversed_period"),
    ({"medications": [DRUG | {"end": "2005-02-30"}]}, "/medications/0/end", "bad_time"),
    ({"medications": [DRUG | {"dose": 50}]}, "/medications/0/unit", "dose_without_unit"),
    ({"adverse_events": [HEADACHE | {"onset": "2026-12-01"}]}, "/adverse_events/0/onset", "future_time"),
    ({"adverse_events": [HEADACHE | {"onset": "2027"}]}, "/adverse_events/0/onset", "future_time"),
    ({"adverse_events": [HEADACHE | {"onset": "1850"}]}, "/adverse_events/0/onset", "out_of_range"),
    ({"adverse_events": [HEADACHE | {"onset": "2005-13"}]}, "/adverse_events/0/onset", "bad_time"),
    ({"adverse_events": [HEADACHE | {"onset": "2005-4"}]}, "/adverse_events/0/onset", "bad_time"),
    ({"adverse_events": [HEADACHE | {"onset": "April"}]}, "/adverse_events/0/onset", "bad_time"),
    ({"patient": {"id": "P1", "birth_year": 1999}, "adverse_events": [HEADACHE | {"onset": "1998-12"}]},
     "/adverse_events/0/onset", "before_birth"),
    ({"ended": {"date": "2005-04", "reason": "died"}}, "/ended/date", "bad_time"),
    ({"infusions": [{"time": "2005-04", "product": "IVIG"}]}, "/infusions/0/time", "bad_time"),
    ({"ended": {"date": "2006-02-29", "reason": "lost"}}, "/ended/date", "bad_time"),
    ({"ended": {"date": "2027-02-28", "reason": "lost"}}, "/ended/date", "future_time"),
    ({"patient": {"id": "P01", "birth_year": 2027}}, "/patient/birth_year", "future_time"),
    ({"patient": {"id": ".."}}, "/patient/id", "bad_identifier"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "place", "code"), REFUSED, ids=[f"{place}-{code}-{i}" for i, (_, place, code) in enumerate(REFUSED)]
)
def test_a_fault_is_named_by_its_place_and_its_code(parts, place, code):
    assert faults(document(**parts)) == [(place, code)]


def test_a_scale_that_is_declared_may_be_used_to_its_end():
    assert only("assessments", MMT | {"score": 5, "scale_max": 5}).scale_max == 5
    assert only("assessments", MMT | {"code": "CMAS", "score": 52}).score == 52
    assert only("assessments", MMT | {"score": 999}).score == 999  # the protocol declares the scale, later


def test_nothing_happens_before_the_year_of_birth():
    before = document(
        patient={"id": "P01", "birth_year": 2006},
        labs=[lab()],
        lab_series=[series(times=["2006-01-01", "2005-12-31"])],
        assessments=[MMT],
        infusions=[IVIG],
        medications=[DRUG | {"end": "2006-01-01"}],
        adverse_events=[HEADACHE],
        ended={"date": "2005-01-01", "reason": "lost"},
    )
    assert faults(before) == [
        ("/adverse_events/0/onset", "before_birth"),
        ("/assessments/0/time", "before_birth"),
        ("/ended/date", "before_birth"),
        ("/infusions/0/time", "before_birth"),
        ("/lab_series/0/times/1", "before_birth"),
        ("/labs/0/time", "before_birth"),
        ("/medications/0/start", "before_birth"),
    ]
    assert faults(before | {"patient": {"id": "P01", "birth_year": 2005}}) == []


def test_a_child_of_this_year_may_be_a_patient():
    assert faults(document(patient={"id": "P01", "birth_year": 2026})) == []


def test_all_faults_of_a_document_come_at_once():
    wrong = document(
        labs=[lab(time="2005-02-30", unit="furlong", lower_limit=200), lab(value=None)],
        assessments=[MMT | {"code": "HAQ"}],
        infusions=[IVIG | {"dose": 1}],
    )
    assert faults(wrong) == [
        ("/assessments/0/score", "off_scale"),
        ("/infusions/0/unit", "dose_without_unit"),
        ("/labs/0/lower_limit", "reversed_limits"),
        ("/labs/0/time", "bad_time"),
        ("/labs/0/unit", "unknown_unit"),
        ("/labs/1/value", "missing"),
    ]


def test_the_faults_listed_have_an_end():
    times = ["2005-02-30"] * (MOST_FAULTS + 5)
    assert len(faults(document(lab_series=[series(times=times, values=[1] * len(times))]))) == MOST_FAULTS


def test_every_code_that_reading_gives_is_tried_here():
    tried = {code for *_, code in REFUSED} | {"before_birth", "conflicting_duplicate"}
    structural = {"wrong_type", "unknown_field", "unknown_value", "unknown_code", "too_long", "too_short", "bad_text"}
    elsewhere = {
        "not_finite", "too_many", "path_mismatch", "unknown_parameter", "repeated_parameter", "contradiction",
        "erased", "letters_unavailable", "reused_key",
    }  # fmt: skip
    in_feeds = {
        "ambiguous_subject", "ambiguous_time", "bad_number", "code_conflict", "no_subject", "not_production",
        "ragged_row", "repeated_column", "repeated_value", "unknown_column", "unknown_encoding", "unknown_modifier",
        "unknown_reference", "unsupported", "value_and_reason",
    }  # fmt: skip
    in_workbooks = {
        "formula", "unclear_cell", "merged_cells", "hidden", "unknown_sheet", "repeated_sheet", "empty_sheet", "macros",
        "external_link", "encrypted",
    }  # fmt: skip
    everywhere = {"malformed", "duplicate_key"}
    assert tried | structural | elsewhere | in_feeds | in_workbooks | everywhere == {code.value for code in FaultCode}
