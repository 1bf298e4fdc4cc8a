"""Our own JSON becomes histories, or every fault of a document is named at once."""

import gc
import json
import random

import pytest

from app.errors import Fault, FaultCode, InvalidDocument, MalformedDocument, TooLarge
from app.readers import READERS, json_timelines
from app.readers.json_timelines import (
    _CONTENTS,
    MOST_FACTS,
    MOST_ITEMS,
    Item,
    read_array,
    read_ndjson,
    read_timeline,
    together,
)
from app.timeline.document import ITEMS, Ended, LabResult, LabSeries, Patient, Timeline
from app.timeline.normalize import MOST_FAULTS, Reading
from tests.readers.refusals import all_text, as_bytes, refusal, told
from tests.timeline.documents import LATEST, document, history, lab, series

GOOD = document(labs=[lab()], lab_series=[series()], assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62}])


def of(timeline: object) -> list[tuple[str, str]]:
    return told(refusal(read_timeline, timeline))


def test_a_good_timeline_is_its_history():
    assert read_timeline(as_bytes(GOOD), LATEST) == history(GOOD)


def test_white_space_and_the_order_of_keys_do_not_matter():
    turned = {name: GOOD[name] for name in reversed(GOOD)}
    assert read_timeline(json.dumps(turned, indent=4).encode(), LATEST) == history(GOOD)


STRUCTURE = [
    (None, "", "wrong_type"),
    ([], "", "wrong_type"),
    ({}, "/patient", "missing"),
    (document(patient=None), "/patient", "wrong_type"),
    (document(patient={}), "/patient/id", "missing"),
    (document(patient={"id": "a b"}), "/patient/id", "bad_identifier"),
    (document(patient={"id": "P01", "sex": "f"}), "/patient/sex", "unknown_value"),
    (document(patient={"id": "P01", "birth_year": 1899}), "/patient/birth_year", "out_of_range"),
    (document(patient={"id": "P01", "birth_year": "1953"}), "/patient/birth_year", "wrong_type"),
    (document(patient={"id": "P01", "weight_kg": 0}), "/patient/weight_kg", "out_of_range"),
    (document(patient={"id": "P01", "steroid_resistant": 1}), "/patient/steroid_resistant", "wrong_type"),
    (document(patient={"id": "P01", "name": "x"}), "/patient", "unknown_field"),
    (document(patientID="P01"), "", "unknown_field"),
    (document(labs={}), "/labs", "wrong_type"),
    (document(labs=None), "/labs", "wrong_type"),
    (document(labs=[None]), "/labs/0", "wrong_type"),
    (document(labs=[lab(code="CK-MB")]), "/labs/0/code", "unknown_code"),
    (document(labs=[lab(code=None)]), "/labs/0/code", "wrong_type"),
    (document(labs=[lab(time=1675418400)]), "/labs/0/time", "wrong_type"),
    (document(labs=[lab(value=True)]), "/labs/0/value", "wrong_type"),
    (document(labs=[lab(value="1101")]), "/labs/0/value", "wrong_type"),
    (document(labs=[lab(value=-1)]), "/labs/0/value", "out_of_range"),
    (document(labs=[lab(value=10_000_001)]), "/labs/0/value", "out_of_range"),
    (document(labs=[lab(upper_limit=0)]), "/labs/0/upper_limit", "out_of_range"),
    (document(labs=[lab(upper_limit=-163)]), "/labs/0/upper_limit", "out_of_range"),
    (document(labs=[lab(comparator="~")]), "/labs/0/comparator", "unknown_value"),
    (document(labs=[lab(status="done")]), "/labs/0/status", "unknown_value"),
    (document(labs=[lab(id="x" * 65)]), "/labs/0/id", "bad_identifier"),
    (document(labs=[lab(lab="a\nb")]), "/labs/0/lab", "bad_text"),
    (document(labs=[lab(lab="")]), "/labs/0/lab", "too_short"),
    (document(labs=[lab(lab="x" * 65)]), "/labs/0/lab", "too_long"),
    (document(labs=[lab(unit="x" * 33)]), "/labs/0/unit", "too_long"),
    (document(labs=[lab(version=2**53)]), "/labs/0/version", "out_of_range"),
    (document(labs=[lab(version=1.5)]), "/labs/0/version", "wrong_type"),
    (document(labs=[lab(ULN=163)]), "/labs/0", "unknown_field"),
    (document(labs=[lab(birth_year=1953)]), "/labs/0", "unknown_field"),
    (document(lab_series=[{}]), "/lab_series/0/code", "missing"),
    (document(lab_series=[series(values=[1, "2"])]), "/lab_series/0/values/1", "wrong_type"),
    (document(lab_series=[series(times=["2005-03-16", None])]), "/lab_series/0/times/1", "wrong_type"),
    (document(lab_series=[series(statuses=["final", "x"])]), "/lab_series/0/statuses/1", "unknown_value"),
    (document(lab_series=[series(ids=["a", "b c"])]), "/lab_series/0/ids/1", "bad_identifier"),
    (document(lab_series=[series(upper_limits=[163, 0])]), "/lab_series/0/upper_limits/1", "out_of_range"),
    (document(lab_series=[series(ids="ab")]), "/lab_series/0/ids", "wrong_type"),
    (document(assessments=[{"code": "MMT9", "time": "2005-03-16", "score": 1}]), "/assessments/0/code", "unknown_code"),
    (document(assessments=[{"code": "MMT", "time": "2005-03-16", "score": -1}]), "/assessments/0/score",
     "out_of_range"),
    (document(infusions=[{"time": "2005-04-11"}]), "/infusions/0/product", "missing"),
    (document(infusions=[{"time": "2005-04-11", "product": "IVIG", "dose": 1, "unit": "mL"}]), "/infusions/0/unit",
     "unknown_unit"),
    (document(medications=[{"drug": "x", "start": "2005-01-01", "dose": 1, "unit": "IU"}]), "/medications/0/unit",
     "unknown_unit"),
    (document(adverse_events=[{"term": "x", "related": "maybe"}]), "/adverse_events/0/related", "unknown_value"),
    (document(adverse_events=[{"term": "x", "related": 1}]), "/adverse_events/0/related", "wrong_type"),
    (document(adverse_events=[{"term": "x", "severity": "bad"}]), "/adverse_events/0/severity", "unknown_value"),
    (document(ended={"date": "2006-09-01", "reason": "moved"}), "/ended/reason", "unknown_value"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("timeline", "place", "code"), STRUCTURE, ids=[f"{at}-{code}-{i}" for i, (_, at, code) in enumerate(STRUCTURE)]
)
def test_a_fault_of_structure_is_named_by_its_place_and_its_code(timeline, place, code):
    assert (place, code) in of(timeline)


@pytest.mark.parametrize(("timeline", "place", "code"), STRUCTURE, ids=[str(i) for i in range(len(STRUCTURE))])
def test_one_fault_of_structure_brings_no_others_of_meaning(timeline, place, code):
    assert {at.rsplit("/", 1)[0] for at, _ in of(timeline)} == {place.rsplit("/", 1)[0]}


def test_faults_of_structure_and_of_meaning_come_together():
    timeline = document(
        patient={"id": "P01", "sex": "f", "birth_year": 2000},
        labs=[
            lab(code="XX", time="2005-02-30", unit="furlong"),
            lab(time="2005-02-31", unit="ng/mL"),
            5,
            lab(time="1999-12-31"),
            lab(value="x", lower_limit=200),
            lab(upper_limit="x", lower_limit=200),
        ],
        lab_series=[series(times=["2005-01-32", 7], values=[True, -1], ids=["a"])],
        infusions=[{"time": "2005-04-11", "product": "IVIG", "dose": 1}, {"time": "2027-01-01"}],
        ended={"date": "2006-02-29", "reason": "moved"},
    )
    assert of(timeline) == [
        ("/ended/date", "bad_time"),
        ("/ended/reason", "unknown_value"),
        ("/infusions/0/unit", "dose_without_unit"),
        ("/infusions/1/product", "missing"),
        ("/infusions/1/time", "future_time"),
        ("/lab_series/0/ids", "length_mismatch"),
        ("/lab_series/0/times/0", "bad_time"),
        ("/lab_series/0/times/1", "wrong_type"),
        ("/lab_series/0/values/0", "wrong_type"),
        ("/lab_series/0/values/1", "out_of_range"),
        ("/labs/0/code", "unknown_code"),
        ("/labs/0/time", "bad_time"),
        ("/labs/0/unit", "unknown_unit"),
        ("/labs/1/time", "bad_time"),
        ("/labs/1/unit", "mass_unit"),
        ("/labs/2", "wrong_type"),
        ("/labs/3/time", "before_birth"),
        ("/labs/4/lower_limit", "reversed_limits"),
        ("/labs/4/value", "wrong_type"),
        ("/labs/5/upper_limit", "wrong_type"),
        ("/patient/sex", "unknown_value"),
    ]


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"code": "HAQ", "time": "x", "score": 5, "scale_max": "3"}, ["/scale_max wrong_type", "/time bad_time"]),
        ({"code": "XXX", "time": "x", "score": 500}, ["/code unknown_code", "/time bad_time"]),
        ({"code": "HAQ", "time": 5, "score": 5}, ["/score off_scale", "/time wrong_type"]),
        ({"code": "HAQ", "time": 5, "status": "final"}, ["/score missing", "/time wrong_type"]),
        ({"code": "HAQ", "time": "2005-03-16", "status": "x"}, ["/status unknown_value"]),
    ],
)
def test_a_fault_is_not_told_that_may_come_of_another(item, found):
    assert [f"{at.removeprefix('/assessments/0')} {code}" for at, code in of(document(assessments=[item]))] == found


def test_an_unknown_field_hides_no_other_fault_of_its_item():
    timeline = document(patientID="P01", labs=[lab(ULN=163, time="2005-02-30", lower_limit=200)])
    assert of(timeline) == [
        ("", "unknown_field"),
        ("/labs/0", "unknown_field"),
        ("/labs/0/lower_limit", "reversed_limits"),
        ("/labs/0/time", "bad_time"),
    ]


def test_a_value_in_place_of_a_bad_field_conflicts_with_nothing():
    """A client may send the very values that are put in place of faulty fields, or those of the documentation."""
    labs = [{"time": 5}, lab(value=1), lab(value=2, time="2005-03-17"), lab(value=3, time="2005-03-17")]
    found = of(document(labs=labs, lab_series=[series()], infusions=[{"time": "2005-04-11", "product": "IVIG"}] * 2))
    assert [code for _, code in found] == ["missing", "wrong_type", "missing"]
    for merged_into in ("P01", "2000-01-01"):
        assert of(document(patient={"id": 5, "merged_into": merged_into})) == [("/patient/id", "wrong_type")]


@pytest.mark.parametrize("examples", [None, ["another"], [{"id": 5}]])
def test_the_examples_of_the_documentation_change_no_fault(examples, monkeypatch):
    timelines = [timeline for timeline, _, _ in STRUCTURE]
    before = [of(timeline) for timeline in timelines]
    for model in (Timeline, Patient, Ended, LabSeries, *ITEMS.values()):
        for field in model.model_fields.values():
            monkeypatch.setattr(field, "examples", examples)
    assert [of(timeline) for timeline in timelines] == before


@pytest.mark.parametrize("section", [*ITEMS, "lab_series"])
def test_an_item_without_any_readable_field_hides_no_fault_of_another_part(section):
    """Each required field gets a value that its type accepts; if one did not, nothing else would be read."""
    timeline = document(ended={"date": "2006-02-29", "reason": "completed"}, **{section: [5]})
    assert set(of(timeline)) == {("/ended/date", "bad_time"), (f"/{section}/0", "wrong_type")}


def test_a_conflict_elsewhere_is_told_beside_a_fault_of_structure():
    infusion = {"time": "2005-04-11", "product": "IVIG"}
    timeline = document(labs=[5], infusions=[infusion, infusion | {"course": 2}])
    assert of(timeline) == [("/infusions/1", "conflicting_duplicate"), ("/labs/0", "wrong_type")]


def test_numbers_that_no_float_can_hold_are_told_with_everything_else():
    timeline = as_bytes(document(patient={"id": "P01", "weight_kg": 77}, labs=[lab(time="2005-02-30", value=7391)]))
    assert of(timeline.replace(b"7391", b"1e400").replace(b"77", b"1e-400")) == [
        ("/labs/0/time", "bad_time"),
        ("/labs/0/value", "not_finite"),
        ("/patient/weight_kg", "not_finite"),
        ("/patient/weight_kg", "out_of_range"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b'{"patient": {"id": "P01", "id": "P02"}}',
        b'{"patient": {"id": "P01"}, "labs": [{"value": NaN}]}',
        b'{"patient": {"id": "\\ud800"}}',
    ],
)
def test_what_is_not_json_is_not_looked_into(body):
    assert isinstance(refusal(read_timeline, body), MalformedDocument)


UNREADABLE = [
    ("labs", lab(status="cancelled", id="7", value="HEMOLYZED", unit="?", upper_limit="high")),
    ("labs", lab(status="entered-in-error", value=-1)),
    ("labs", lab(status="cancelled", unit="mmol/L")),
    ("labs", lab(status="cancelled", value={}, comparator="~")),
    ("labs", lab(status="cancelled", upper_limit=1, lower_limit=2)),
    ("assessments", {"code": "MMT", "time": "2005-03-16", "score": "n/a", "status": "cancelled"}),
    ("assessments", {"code": "HAQ", "time": "2005-03-16", "score": 9, "status": "entered-in-error"}),
    ("infusions", {"time": "2005-04-11", "product": "IVIG", "dose": 200, "unit": "mL", "status": "cancelled"}),
    ("medications", {"drug": "X", "start": "2005-04-11", "dose": "2", "status": "cancelled"}),
    ("adverse_events", {"term": "fever", "severity": "grade 3", "status": "entered-in-error"}),
]


@pytest.mark.parametrize(("section", "item"), UNREADABLE)
def test_a_withdrawal_needs_nothing_to_be_readable_but_its_number_code_and_time(section, item):
    withdrawal = document(labs=[lab(time="2005-03-20")])
    withdrawal[section] = [*withdrawal.get(section, ()), item]
    expected = history(withdrawal | {section: [*withdrawal[section][:-1], _bare(section, item)]})
    assert read_timeline(as_bytes(withdrawal), LATEST) == expected
    assert [each.history for each in read_array(as_bytes([withdrawal, GOOD]), LATEST)] == [
        expected, read_timeline(as_bytes(GOOD), LATEST),
    ]  # fmt: skip
    assert of(as_bytes({**withdrawal, section: [{**item, "status": "final"}]})) != []


def _bare(section, item):
    return {name: value for name, value in item.items() if name not in _CONTENTS[section]}


def test_a_withdrawal_with_a_value_that_can_be_read_keeps_it():
    labs = [lab(status="cancelled", value=9), lab(status="cancelled", time="2005-03-20", value="x")]
    assert [fact.value for fact in read_timeline(as_bytes(document(labs=labs)), LATEST).labs] == [9, None]


def test_a_withdrawal_needs_its_code_and_its_time_and_other_items_stay_as_strict():
    wrong = lab(status="cancelled", value="x")
    assert of(as_bytes(document(labs=[{**wrong, "time": "soon"}]))) == [("/labs/0/time", "bad_time")]
    assert of(as_bytes(document(labs=[{**wrong, "code": "KC"}]))) == [("/labs/0/code", "unknown_code")]
    assert of(as_bytes(document(labs=[wrong, lab(value="x")]))) == [("/labs/1/value", "wrong_type")]
    assert of(as_bytes(document(labs=[wrong, lab(value=7391)])).replace(b"7391", b"1e400")) == [
        ("/labs/1/value", "not_finite")]  # fmt: skip


def test_a_byte_order_mark_before_a_document_an_array_or_any_line_is_no_part_of_it():
    mark, text = b"\xef\xbb\xbf", as_bytes(GOOD)
    alone = read_timeline(text, LATEST)
    assert read_timeline(mark + text, LATEST) == alone
    assert [item.history for item in read_array(mark + b"[" + text + b"]", LATEST)] == [alone]
    marked = read_ndjson(mark + b"\r\n" + mark + text + b"\n" + text + b"\n" + mark + text, LATEST)
    assert [item.history for item in marked] == [alone] * 3
    assert of(mark + text.replace(b"CK", b"KC")) == of(text.replace(b"CK", b"KC")) != []


@pytest.mark.parametrize("faulty", [{}, {"value": None}, {"unit": "parsec", "more": 1}, {"code": 7}, {"time": "2005"}])
def test_a_long_list_and_one_by_columns_are_read_as_a_short_one(faulty, monkeypatch):
    text = as_bytes(document(labs=[lab(time=f"2005-03-{day:02}") for day in range(1, 20)] + [lab() | faulty]))

    def read():
        try:
            found = read_timeline(text, LATEST)
        except InvalidDocument as refused:
            return list(refused.faults)
        return found, [found.place("labs", i) for i in range(len(found.labs))]

    by_columns = read()
    monkeypatch.setattr(json_timelines, "FEWEST_BY_COLUMN", 100)
    short = read()
    assert by_columns == short
    monkeypatch.setattr(json_timelines, "MOST_MODELS", 3)
    assert read() == short


def test_few_items_of_a_long_list_are_models_at_the_same_time(monkeypatch):
    def counted(self, result, index):
        alive.append(models())
        return read(self, result, index)

    def models():
        return sum(1 for each in gc.get_objects() if type(each) is LabResult)

    read, alive, before = Reading.lab, [], models()
    monkeypatch.setattr(Reading, "lab", counted)
    monkeypatch.setattr(json_timelines, "MOST_MODELS", 3)
    read_timeline(as_bytes(document(labs=[lab(time=f"2005-03-{day:02}") for day in range(1, 20)])), LATEST)
    assert len(alive) == 19
    assert max(alive) - before <= 2


@pytest.mark.slow
def test_a_history_has_an_end():
    times = ["2005-03-16"] * (MOST_FACTS + 1)
    assert isinstance(
        refusal(read_timeline, document(lab_series=[series(times=times, values=[1] * len(times))])), TooLarge
    )
    patients = {"infusions": [{"time": "2005-04-11", "product": "IVIG"}] * 2, "labs": [lab()] * (MOST_FACTS - 1)}
    assert isinstance(refusal(read_timeline, document(**patients)), TooLarge)


@pytest.mark.parametrize("read", [read_array, read_ndjson])
def test_the_facts_of_all_timelines_of_a_body_count_together(monkeypatch, read):
    monkeypatch.setattr(json_timelines, "MOST_FACTS", 10)

    def body(*counts: int) -> bytes:
        parts = [
            as_bytes(
                document(lab_series=[series(times=[f"2005-03-{day:02}" for day in range(1, 1 + n)], values=[1] * n)])
            )
            for n in counts
        ]
        return b"[%s]" % b",".join(parts) if read is read_array else b"\n".join(parts)

    assert [len(item.history.labs) for item in read(body(5, 5), LATEST)] == [5, 5]
    assert isinstance(refusal(read, body(5, 6)), TooLarge)
    assert isinstance(refusal(read, body(5, 4, 1, 1)), TooLarge)


def test_fifty_thousand_results_of_one_patient_are_read():
    times = [f"2005-03-16T{i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z" for i in range(50_000)]
    assert (
        len(read_timeline(as_bytes(document(lab_series=[series(times=times, values=[1] * 50_000)])), LATEST).labs)
        == 50_000
    )


@pytest.mark.parametrize(
    "parts",
    [
        {"labs": [5] * 5000},
        {"labs": [{}] * 5000},
        {"labs": [lab(time="x")] * 5000},
        {"lab_series": [series(times=["x"] * 5000, values=[True] * 5000)]},
        {str(i): i for i in range(5000)},
    ],
)
def test_the_faults_that_are_listed_have_an_end(parts):
    error = refusal(read_timeline, document(**parts))
    assert 1 <= len(error.faults) <= MOST_FAULTS
    assert error.detail == (None if len(error.faults) == 1 else "Only the first 1000 faults are listed.")


# Many at a time


def items(read, body) -> list[Item]:
    found = read(as_bytes(body), LATEST)
    assert [item.index for item in found] == list(range(len(found)))
    assert all((item.history is None) != (item.error is None) for item in found)
    return found


def lines(*documents: object) -> bytes:
    return b"\n".join(map(as_bytes, documents))


MANY = [document(patient={"id": f"P{i}"}, labs=[lab()]) for i in range(3)]
BAD = document(labs=[lab(time="2005-02-30"), lab(value=True)])


def test_the_readers_by_media_type():
    assert list(READERS.items()) == [("application/json", read_array), ("application/x-ndjson", read_ndjson)]


@pytest.mark.parametrize(
    ("read", "join"), [(read_array, lambda *d: list(d)), (read_ndjson, lines)], ids=["array", "lines"]
)
class TestMany:
    def test_each_is_read(self, read, join):
        assert [item.history for item in items(read, join(*MANY))] == [history(each) for each in MANY]

    def test_none_is_none(self, read, join):
        assert items(read, join()) == []

    def test_a_bad_one_harms_no_other(self, read, join):
        found = items(read, join(MANY[0], BAD, 5, MANY[1]))
        assert [item.history.patient if item.history else None for item in found] == ["P0", None, None, "P1"]
        assert told(found[1].error) == [("/labs/0/time", "bad_time"), ("/labs/1/value", "wrong_type")]
        assert told(found[2].error) == [("", "wrong_type")]

    def test_a_fault_of_meaning_alone_harms_no_other(self, read, join):
        found = items(read, join(MANY[0], document(labs=[lab(time="2005-02-30")])))
        assert [item.error is None for item in found] == [True, False]

    def test_a_number_that_no_float_can_hold_harms_no_other(self, read, join):
        body = as_bytes(join(document(labs=[lab(value=7391)]), MANY[0])).replace(b"7391", b"1e400")
        found = items(read, body)
        assert told(found[0].error) == [("/labs/0/value", "not_finite")]
        assert found[1].history == history(MANY[0])

    def test_the_same_patient_may_come_twice(self, read, join):
        assert len(items(read, join(MANY[0], MANY[0]))) == 2

    def test_refused_together_each_pointer_begins_with_the_index(self, read, join):
        assert together(items(read, join(*MANY))) is None
        error = together(items(read, join(MANY[0], BAD, 5)))
        assert isinstance(error, InvalidDocument)
        assert error.faults == (
            Fault("/1/labs/0/time", FaultCode.BAD_TIME),
            Fault("/1/labs/1/value", FaultCode.WRONG_TYPE),
            Fault("/2", FaultCode.WRONG_TYPE),
        )

    def test_too_many_are_too_many(self, read, join):
        assert isinstance(refusal(read, join(*[0] * (MOST_ITEMS + 2))), TooLarge)


def test_an_array_that_is_no_json_is_refused_as_a_whole():
    for body in (b'[{"patient": {"id": "a"}}, ', b'[{"a": 1, "a": 2}]', b"[NaN]", b"", b"[1 2]"):
        assert isinstance(refusal(read_array, body), MalformedDocument)


def test_what_is_no_array_is_refused():
    for body in (b"{}", b"null", b"5", b'"["'):
        assert told(refusal(read_array, body)) == [("", "wrong_type")]


def test_a_bad_element_keeps_its_white_space_and_its_neighbours():
    text = ' [\r\n{"patient":{"id":"a"}}\t,  "[,]" ,[ ] , {"patient" : {"id":"\u00e4"}},{"patient":{"id":"b"}} ] '
    found = items(read_array, text.encode())
    assert [item.history.patient if item.history else told(item.error) for item in found] == [
        "a",
        [("", "wrong_type")],
        [("", "wrong_type")],
        [("/patient/id", "bad_identifier")],
        "b",
    ]


def test_a_line_that_is_no_json_harms_no_other():
    found = items(read_ndjson, lines(MANY[0]) + b'\n{"patient":\n\xff\n{"a":1,"a":2}\n' + as_bytes(MANY[1]))
    assert [told(item.error) if item.error else item.history.patient for item in found] == [
        "P0",
        [("", "malformed")],
        [("", "malformed")],
        [("", "duplicate_key")],
        "P1",
    ]
    error = together(found)
    assert isinstance(error, MalformedDocument)
    assert told(error) == [("/1", "malformed"), ("/2", "malformed"), ("/3", "duplicate_key")]


def test_blank_lines_and_carriage_returns_do_not_count():
    body = b"\n\r\n" + as_bytes(MANY[0]) + b"\r\n \n" + as_bytes(MANY[1]) + b"\n\n"
    assert [item.history.patient for item in items(read_ndjson, body)] == ["P0", "P1"]


def test_a_list_of_patients_is_read_the_same_however_bad_its_neighbours_are():
    """Good arrays take a shorter way than arrays with a fault in them; both must agree."""
    turns = random.Random(7)
    for _ in range(20):
        mixed = turns.choices([*MANY, BAD, 5, {}], k=6)
        alone = [items(read_array, [each])[0] for each in mixed]
        assert [(item.history, told(item.error) if item.error else None) for item in items(read_array, mixed)] == [
            (item.history, told(item.error) if item.error else None) for item in alone
        ]


def test_nothing_that_was_sent_is_repeated():
    canary = "canary-7391"
    timeline = {
        canary: canary,
        "patient": {"id": canary + " ", "sex": canary, canary: 73.91},
        "labs": [lab(code=canary, time=canary, unit=canary, lab=canary * 20, **{canary: 1}), canary],
        "lab_series": [series(ids=[canary, canary + "/"], values=[73.91, -7391])],
        "adverse_events": [{"term": canary * 50, "related": canary}],
    }
    said = all_text(refusal(read_timeline, timeline))
    assert "canary" not in said
    assert "7391" not in said
    assert "73.91" not in said
