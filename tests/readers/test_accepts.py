"""Every fault with a closed set, a range or a form says what would have been accepted, and nothing of what was sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, ServiceError, pointer
from app.http import openapi
from app.http.problems import problem
from app.readers.json_timelines import read_model, read_timeline
from app.readers.table_kinds import COLUMNS_OF
from app.timeline.accepts import accepted_by
from app.timeline.document import Timeline
from app.timeline.vocabulary import ANALYTES, UNITS
from tests.documented import description
from tests.readers.refusals import lacking, refusal
from tests.readers.tables import FULL, ROW, strictly, table
from tests.readers.tables import refusal as refused_table
from tests.readers.wrong_values import CANARY, NUMBER, wrong_values


def request_models() -> list[type[BaseModel]]:
    """The models of all bodies in our own JSON, as the description of the API names them."""
    bodies = [
        operation["requestBody"]["content"]
        for path, operations in description()["paths"].items()
        for operation in ({} if path.startswith("/fhir") else operations).values()
        if "requestBody" in operation
    ]
    schemas = [body["application/json"]["schema"] for body in bodies if "application/json" in body]
    names = {schema.get("items", schema)["$ref"].rpartition("/")[2] for schema in schemas}
    return [openapi._named[name] for name in sorted(names)]


def faults_of(model: type[BaseModel], document: object) -> ServiceError:
    """The refusal of a document of a model."""
    if model is Timeline:
        return refusal(read_timeline, document)
    return refusal(lambda body, latest: read_model(body, model, latest), document)


def states(accepts: Accepts | None, expected: dict[str, object]) -> bool:
    """Whether what is accepted has this; of sets and types, at least these or one of these."""
    if accepts is None:
        return False
    given = accepts.model_dump()
    for name, value in expected.items():
        if name == "types":
            fits = bool(set(given.get("types", ())) & value) or "one_of" in given
        elif name == "one_of":
            fits = value <= set(given.get("one_of", ()))
        else:
            fits = given.get(name) == value
        if not fits:
            return False
    return True


def test_there_are_models_of_requests_to_walk():
    assert {"Protocol", "StudyDefinition", "Timeline", "Unstored", "WhatIf"} <= {
        model.__name__ for model in request_models()
    }


@pytest.mark.parametrize("model", request_models(), ids=lambda model: model.__name__)
def test_each_wrong_value_of_each_field_is_answered_by_what_its_model_accepts(model):
    tried = 0
    for wrong in wrong_values(model):
        error = faults_of(model, wrong.value)
        at = [fault for fault in error.faults if fault.pointer == pointer(*wrong.path)]
        assert any(states(fault.accepts, wrong.accepted) for fault in at), (wrong, error.faults)
        assert lacking(error) == [], wrong
        answer = problem(error, "-").model_dump_json()
        assert CANARY not in answer
        assert "7391" not in answer
        tried += 1
    assert tried >= 5


@pytest.mark.parametrize("code", sorted(ANALYTES))
def test_a_wrong_unit_is_answered_by_the_units_of_its_analyte(code):
    quantity = ANALYTES[code].quantity
    own = {unit.factor for unit in UNITS.values() if unit.quantity == quantity}
    other = next(unit.spelling for unit in UNITS.values() if unit.quantity != quantity)
    for unit in (CANARY, other, None):
        lab = {"code": code, "time": "2005-03-16", "value": NUMBER, "unit": unit}
        [fault] = refusal(read_timeline, {"patient": {"id": "P01"}, "labs": [lab]}).faults
        assert fault.pointer == "/labs/0/unit"
        assert sorted(UNITS[spelling].factor for spelling in fault.accepts.one_of) == sorted(own)
        assert fault.accepts.see == "docs/feeds.md#units"
        assert other not in fault.accepts.one_of
        assert fault.accepts.one_of[0] == ANALYTES[code].unit


def test_what_is_known_of_the_whole_document_is_said_with_what_its_place_accepts():
    document = {
        "patient": {"id": "P01"},
        "labs": [{"code": "CK", "time": "2005-13-45", "unit": "U/L"}, {"code": "CK", "time": "1600-01-01", "value": 1,
                                                                      "unit": "U/L", "issued": "2005-03-16"}],
        "assessments": [{"code": "HAQ", "time": "2005-03-16T09:00:00", "score": 17}, {"code": "MMT", "time": "2005"}],
        "infusions": [{"time": "2005-04-11", "product": "IVIG", "dose": 1}],
        "medications": [{"drug": "x", "start": "2005-03-16T09:00:00Z", "end": "2005-02-30"}],
    }  # fmt: skip
    found = {(fault.pointer, fault.code.value): fault.accepts for fault in refusal(read_timeline, document).faults}
    date_time = "YYYY-MM-DD, or an RFC 3339 date-time with an offset from -12:00 to +14:00"
    assert {place: accepts.words for place, accepts in found.items()} == {
        ("/labs/0/time", "bad_time"): f"Accepted: {date_time}.",
        ("/labs/0/value", "missing"): "Accepted: 0 to 10000000.",
        ("/labs/1/time", "out_of_range"): "Accepted: not before 1900-01-01.",
        ("/labs/1/issued", "bad_time"): "Accepted: an RFC 3339 date-time with an offset from -12:00 to +14:00.",
        ("/assessments/0/time", "no_offset"): f"Accepted: {date_time}.",
        ("/assessments/0/score", "off_scale"): "Accepted: 0 to 3.",
        ("/assessments/1/time", "bad_time"): f"Accepted: {date_time}.",
        ("/assessments/1/score", "missing"): "Accepted: 0 to 1000.",
        ("/infusions/0/unit", "dose_without_unit"): "Accepted: g/kg, mg/kg, g, mg.",
        ("/medications/0/start", "bad_time"): "Accepted: YYYY-MM-DD.",
        ("/medications/0/end", "bad_time"): "Accepted: YYYY-MM-DD.",
    }


def test_a_number_that_is_lost_is_answered_by_the_range_of_its_field():
    body = b'{"patient": {"id": "P01", "weight_kg": 1e999}}'
    [fault] = refusal(read_timeline, body).faults
    assert (fault.pointer, fault.code, fault.accepts.more_than, fault.accepts.at_most) == (
        "/patient/weight_kg", "not_finite", 0, 700,
    )  # fmt: skip


def test_an_unknown_time_zone_is_answered_by_where_the_zones_are_listed():
    declared = {"name": "Trial", "protocol": "seed-2008", "time_zone": CANARY}
    [fault] = faults_of(next(each for each in request_models() if each.__name__ == "StudyDefinition"), declared).faults
    assert fault.pointer == "/time_zone"
    assert fault.accepts.see == "https://www.iana.org/time-zones"


def test_an_alias_of_an_unknown_unit_is_answered_by_all_units():
    [model] = [each for each in request_models() if each.__name__ == "StudyDefinition"]
    declared = {"name": "Trial", "protocol": "seed-2008", "unit_aliases": {"E/L": CANARY}}
    [fault] = faults_of(model, declared).faults
    assert (fault.pointer, fault.code, fault.accepts.one_of) == ("/unit_aliases", "unknown_unit", tuple(UNITS))


def test_a_union_with_a_discriminator_is_answered_by_the_member_that_was_chosen():
    rule = {"id": "percent_above_baseline", "measure": "MMT", "percent": 2_000, "week": 4}
    [model] = [each for each in request_models() if each.__name__ == "Protocol"]
    [fault] = faults_of(model, {"id": "x", "responses": [{"rule": rule}]}).faults
    assert fault.pointer == "/responses/0/rule/percent"
    assert (fault.accepts.more_than, fault.accepts.at_most) == (0, 1000)
    assert accepted_by(model, ("responses", 0, "rule", "percent")) == fault.accepts
    rule = {
        "id": "ck_decrease_or_normal",
        "measure": CANARY,
        "percent_of_baseline": 70,
        "days": [1, 59],
        "value": "best",
    }
    [fault] = faults_of(model, {"id": "x", "responses": [{"rule": rule}]}).faults
    assert (fault.pointer, fault.accepts.one_of) == ("/responses/0/rule/measure", ("CK",))


@pytest.mark.parametrize(
    "column", ["status", "comparator", "unit", "value", "upper_limit", "time", "issued", "version"]
)
def test_a_wrong_cell_of_a_table_is_answered_by_what_its_column_accepts(column):
    [results] = strictly(table(ROW | FULL | {column: CANARY}))
    assert (f"/2/{column}", False) in [(fault.pointer, fault.accepts is None) for fault in results.error.faults]
    assert lacking(results.error) == []
    assert CANARY not in problem(results.error).model_dump_json()


def test_a_table_speaks_of_the_times_of_tables():
    for time in (CANARY, "2005-13-45", "2005-03-16 09:48+15:00"):
        [results] = strictly(table(ROW | {"time": time}))
        [fault] = results.error.faults
        assert (fault.pointer, fault.code) == ("/2/time", "bad_time")
        assert fault.accepts.form.startswith("YYYY-MM-DD, or with a T or a blank after it hh:mm[:ss[.s]]")
        assert "RFC" not in fault.explanation
    [results] = strictly(table(ROW | {"issued": "2005-03-16"}))
    [fault] = results.error.faults
    assert fault.accepts.form.startswith("YYYY-MM-DD, with a T")


def test_an_unknown_column_is_answered_by_the_columns():
    error = refused_table(table(ROW | {CANARY: "1"}))
    [fault] = error.faults
    assert fault.accepts.one_of == COLUMNS_OF["labs"]
    assert CANARY not in problem(error).model_dump_json()
    [fault] = refused_table(table(ROW).decode().encode("utf-16")).faults
    assert fault.accepts.one_of == ("UTF-8",)


class TestEqualFaults:
    """What is accepted takes no part in the comparison of faults."""

    FINAL, OTHER = Accepts(one_of=("final",)), Accepts(one_of=("other",))

    def test_the_first_of_equal_faults_is_kept(self):
        first, second = (Fault("/a", FaultCode.UNKNOWN_VALUE, None, accepts) for accepts in (self.FINAL, self.OTHER))
        assert first == second
        assert hash(first) == hash(second)
        assert [fault.accepts for fault in InvalidDocument(faults=[first, second]).faults] == [self.FINAL]
        assert [fault.accepts for fault in InvalidDocument(faults=[second, first]).faults] == [self.OTHER]

    @given(st.permutations([
        Fault("/b", FaultCode.MISSING), Fault("/a", FaultCode.UNKNOWN_VALUE, None, OTHER),
        Fault("/a", FaultCode.UNKNOWN_VALUE, "More.", FINAL), Fault("/a", FaultCode.MISSING, None, FINAL),
    ]))  # fmt: skip
    def test_faults_have_one_order_whatever_they_accept(self, faults):
        listed = InvalidDocument(faults=faults).faults
        assert [(fault.pointer, fault.code, fault.detail) for fault in listed] == [
            ("/a", "missing", None), ("/a", "unknown_value", None), ("/a", "unknown_value", "More."),
            ("/b", "missing", None),
        ]  # fmt: skip

    def test_a_fault_keeps_what_is_accepted_at_another_place(self):
        moved = Fault("/a", FaultCode.MISSING, "More.", self.FINAL).at("OBX[1]-11")
        assert (moved.pointer, moved.detail, moved.accepts) == ("OBX[1]-11", "More.", self.FINAL)


class TestWords:
    """What is accepted, as a sentence."""

    @pytest.mark.parametrize(
        ("accepts", "words"),
        [
            (Accepts(one_of=("F", "M")), "Accepted: F, M."),
            (Accepts(one_of=("yes",), types=("boolean",)), "Accepted: yes; JSON boolean."),
            (Accepts(types=("integer",), at_least=1, at_most=500), "Accepted: 1 to 500."),
            (Accepts(more_than=0, at_most=0.5), "Accepted: at most 0.5 and more than 0."),
            (Accepts(less_than=0.5), "Accepted: less than 0.5."),
            (Accepts(types=("number", "string")), "Accepted: JSON number or string."),
            (
                Accepts(at_most_characters=64, pattern="^x$"),
                "Accepted: at most 64 characters; the regular expression ^x$.",
            ),
            (Accepts(at_least_items=1), "Accepted: at least 1 items."),
            (Accepts(form="YYYY", pattern="^x$", see="/problems"), "Accepted: YYYY; see /problems."),
            (Accepts(one_of=("ug/L", "\u00b5g/L")), "Accepted: ug/L and 1 more."),
            (Accepts(one_of=tuple(map(str, range(50)))), f"Accepted: {', '.join(map(str, range(40)))} and 10 more."),
        ],
    )
    def test_they_say_what_is_stated(self, accepts, words):
        assert accepts.words == words
        assert Fault("", FaultCode.MISSING, None, accepts).explanation == f"This field is required. {words}"

    def test_json_has_only_what_is_stated(self):
        assert json.loads(Accepts(at_least=0).model_dump_json()) == {"at_least": 0}
        fault = problem(InvalidDocument(faults=[Fault("/a", FaultCode.CONTRADICTION)])).model_dump(mode="json")
        assert list(fault["errors"][0]) == ["pointer", "code", "detail"]
