"""Pydantic's errors in our words: real pointers, our codes, and nothing of what was sent."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from app.errors import InvalidDocument, MalformedDocument, TooLarge
from app.protocol.model import Protocol
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import MOST_BYTES, read_model
from app.timeline.document import Document, Identifier, Many, Text, Timeline
from tests.readers.refusals import all_text, as_bytes, refusal, told
from tests.timeline.documents import LATEST

CANARY = "canary-7391"


def written_as(value: object) -> str:
    return "name" if isinstance(value, str) else "definitions"


class Study(Document):
    """As a study is declared."""

    name: Text
    protocol: Annotated[
        Annotated[Literal["seed-2008"], Tag("name")] | Annotated[Protocol, Tag("definitions")],
        Discriminator(written_as),
    ]
    time_zone: str | None = Field(default=None, max_length=8)


class Question(Document):
    """As a whole cohort is sent."""

    protocol: Literal["seed-2008"] | Protocol
    timelines: Many[Timeline]


class Small(Document):
    """One field of each kind."""

    id: Identifier = "a"
    text: Text = "a"
    number: float = Field(default=1, gt=0, le=10)
    whole: int = Field(default=1, ge=0, le=2**53 - 1)
    flag: bool = False
    either: Literal["x", "y"] | bool | None = None
    pair: tuple[int, int] = (1, 2)
    few: tuple[int, ...] = Field(default=(1,), min_length=1, max_length=3)
    free: dict[Literal["MMT", "ADL"], float] = Field(default={})
    code: Literal["CK"] = "CK"
    unit: Literal["U/L"] = "U/L"

    @model_validator(mode="after")
    def _must_agree(self) -> "Small":
        if self.flag and self.number == 10:
            raise PydanticCustomError("contradiction", "{sentence}", {"sentence": "flag: not with a number of ten."})
        return self


def of(model: type[BaseModel], document: object) -> list[tuple[str, str]]:
    return told(refusal(read_model, document, model))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"id": "a b"}, [("/id", "bad_identifier")]),
        ({"id": ""}, [("/id", "bad_identifier")]),
        ({"id": "x" * 65}, [("/id", "bad_identifier")]),
        ({"id": "e\u0301"}, [("/id", "bad_identifier")]),
        ({"id": 7}, [("/id", "wrong_type")]),
        ({"text": "a\tb"}, [("/text", "bad_text")]),
        ({"text": "a\u0085b"}, [("/text", "bad_text")]),
        ({"text": ""}, [("/text", "too_short")]),
        ({"text": "x" * 201}, [("/text", "too_long")]),
        ({"text": None}, [("/text", "wrong_type")]),
        ({"number": "1.5"}, [("/number", "wrong_type")]),
        ({"number": True}, [("/number", "wrong_type")]),
        ({"number": 0}, [("/number", "out_of_range")]),
        ({"number": 10.1}, [("/number", "out_of_range")]),
        ({"whole": 1.5}, [("/whole", "wrong_type")]),
        ({"whole": 1.0}, [("/whole", "wrong_type")]),
        ({"whole": 10**30}, [("/whole", "out_of_range")]),
        ({"whole": -1}, [("/whole", "out_of_range")]),
        ({"flag": 1}, [("/flag", "wrong_type")]),
        ({"flag": "true"}, [("/flag", "wrong_type")]),
        ({"either": "z"}, [("/either", "unknown_value")]),
        ({"either": 5}, [("/either", "wrong_type")]),
        ({"pair": [1]}, [("/pair", "too_short")]),
        ({"pair": [1, 2, 3]}, [("/pair", "too_long")]),
        ({"pair": [1, "2"]}, [("/pair/1", "wrong_type")]),
        ({"few": []}, [("/few", "too_short")]),
        ({"few": ["x"]}, [("/few/0", "wrong_type")]),
        ({"few": [1] * 4}, [("/few", "too_long")]),
        ({"few": {}}, [("/few", "wrong_type")]),
        ({"free": {"MMT": "1"}}, [("/free/MMT", "wrong_type")]),
        ({"free": {CANARY: 1}}, [("/free", "unknown_field")]),
        ({"free": {CANARY: CANARY}}, [("/free", "unknown_field")]),
        ({"code": "LDH"}, [("/code", "unknown_code")]),
        ({"code": 5}, [("/code", "wrong_type")]),
        ({"unit": "mg"}, [("/unit", "unknown_unit")]),
        ({CANARY: 1, CANARY + "2": 2}, [("", "unknown_field")]),
        ({"flag": True, "number": 10}, [("", "contradiction")]),
        (b'{"number": 1e400}', [("/number", "not_finite")]),
        (b'{"number": 1e-400}', [("/number", "not_finite"), ("/number", "out_of_range")]),
        (b'{"whole": 1e400}', [("/whole", "not_finite"), ("/whole", "wrong_type")]),
        (b'{"text": "\\u0000"}', [("/text", "bad_text")]),
        (b'{"free": {"\\u0000": 1}}', [("/free", "bad_text"), ("/free", "unknown_field")]),
        (None, [("", "wrong_type")]),
        ([], [("", "wrong_type")]),
        ("text", [("", "wrong_type")]),
    ],
)
def test_an_error_becomes_a_fault(given, found):
    assert of(Small, given) == found


def test_a_good_document_is_given_back():
    assert read_model(b'{"id": "b", "number": 2}', Small) == Small(id="b", number=2)


def test_what_a_contradiction_says_is_kept():
    error = refusal(read_model, {"flag": True, "number": 10}, Small)
    assert error.faults[0].sentence == "flag: not with a number of ten."


def test_a_field_that_is_missing_is_named_though_it_is_not_there():
    assert of(Study, {}) == [("/name", "missing"), ("/protocol", "missing")]


@pytest.mark.parametrize(
    ("protocol", "found"),
    [
        (CANARY, [("/protocol", "unknown_value")]),
        (5, [("/protocol", "wrong_type")]),
        (None, [("/protocol", "wrong_type")]),
        ([], [("/protocol", "wrong_type")]),
        ({}, [("/protocol/id", "missing")]),
        ({"id": CANARY, CANARY: 1}, [("/protocol", "unknown_field")]),
    ],
)
def test_a_choice_between_a_name_and_definitions_says_one_thing(protocol, found):
    assert of(Study, {"name": "a", "protocol": protocol}) == found


def test_a_choice_without_a_discriminator_says_the_most_telling_thing():
    assert of(Question, {"protocol": "x", "timelines": []}) == [("/protocol", "unknown_value")]
    assert of(Question, {"protocol": 5, "timelines": []}) == [("/protocol", "wrong_type")]
    assert of(Question, {"protocol": {"id": "a b"}, "timelines": []}) == [("/protocol/id", "bad_identifier")]


def test_a_pointer_is_right_where_a_member_of_a_union_has_a_field_of_its_own_name():
    threshold = {"id": "percent_of_baseline", "percent_of_baseline": 70, "or_normal": CANARY}
    measure = {"measure": "CK", "thresholds": [threshold]}
    found = of(Study, {"name": "a", "protocol": {"id": "x", "specification_grid": {"measures": [measure]}}})
    at = "/protocol/specification_grid/measures/0/thresholds/0"
    assert [each for each in found if each[0].startswith(at)] == [(f"{at}/or_normal", "wrong_type")]


def test_pointers_lead_through_the_document_and_not_through_the_members_of_a_union():
    rule = {"id": "points_above_baseline", "measure": "MMT", "points": -1, "days": [1], "value": "best", CANARY: 1}
    responses = [
        {"rule": {"id": CANARY}},
        {"rule": {}},
        {"rule": CANARY},
        {"rule": rule},
        {"rule": rule, "primary": "yes"},
    ]
    found = of(Study, {"name": "a", "protocol": {"id": "x", "responses": responses}})
    at = "/protocol/responses"
    assert found == [
        (f"{at}/0/rule/id", "unknown_value"),
        (f"{at}/1/rule/id", "missing"),
        (f"{at}/2/rule", "wrong_type"),
        (f"{at}/3/rule", "unknown_field"),
        (f"{at}/3/rule/days", "too_short"),
        (f"{at}/3/rule/points", "out_of_range"),
        (f"{at}/4/primary", "wrong_type"),
        (f"{at}/4/rule", "unknown_field"),
        (f"{at}/4/rule/days", "too_short"),
        (f"{at}/4/rule/points", "out_of_range"),
    ]


def test_a_protocol_that_contradicts_itself_is_refused_with_its_sentence():
    protocol = SEED_2008.model_dump(mode="json") | {"scales": {}}
    error = refusal(read_model, {"name": "a", "protocol": protocol}, Study)
    assert told(error) == [("/protocol", "contradiction")]
    assert error.faults[0].sentence.startswith("responses.0: ")


def test_a_preset_survives_being_written_and_read():
    assert read_model(as_bytes(SEED_2008.model_dump(mode="json")), Protocol) == SEED_2008


class PlainQuestion(Document):
    """The same with an ordinary list."""

    timelines: tuple[Timeline, ...]


def test_each_bad_result_of_each_bad_timeline_is_named():
    labs = [{"code": "CK", "time": "2005-03-16", "value": value, "unit": "U/L"} for value in (True, 1, -1)]
    document = {"timelines": [{"patient": {"id": "a"}, "labs": labs}] * 2}
    for model in (Question, PlainQuestion):
        found = of(model, document | ({"protocol": "seed-2008"} if model is Question else {}))
        assert [at for at, _ in found] == [f"/timelines/{i}/labs/{j}/value" for i in (0, 1) for j in (0, 2)]


def test_timelines_inside_another_document_are_read_to_their_last_fault():
    lab = {"code": "CK", "time": "2005-02-30", "value": 1, "unit": "ng/mL"}
    document = {"protocol": "seed-2008", "timelines": [{"patient": {"id": "a"}, "labs": [lab]}, 5], CANARY: 1}
    error = refusal(read_model, document, Question, LATEST)
    assert told(error) == [
        ("", "unknown_field"),
        ("/timelines/0/labs/0/time", "bad_time"),
        ("/timelines/0/labs/0/unit", "mass_unit"),
        ("/timelines/1", "wrong_type"),
    ]
    assert CANARY not in all_text(error)


def test_a_document_without_timelines_may_not_be_large():
    assert isinstance(refusal(read_model, b" " * MOST_BYTES + b"{}", Small), TooLarge)
    padded = {"protocol": "seed-2008", "timelines": [{"patient": {"id": "a"}}]}
    assert len(read_model(b" " * MOST_BYTES + as_bytes(padded), Question).timelines) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b'{"id": "a", "id": "a"}', MalformedDocument), (b"", MalformedDocument), (b"null", InvalidDocument)],
)
def test_other_documents_are_read_as_strictly_as_timelines(body, kind):
    assert isinstance(refusal(read_model, body, Small), kind)
