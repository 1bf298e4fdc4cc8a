"""Whatever arrives: only a refusal of ours leaves a reader, and it repeats nothing of what arrived."""

import json
import re
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import FaultCode, ServiceError
from app.protocol.model import Protocol
from app.protocol.presets import SEED_2008
from app.readers.json_timelines import read_array, read_model, read_ndjson, read_timeline
from tests.readers.refusals import all_text
from tests.repetition import repeats
from tests.timeline.documents import LATEST, document, lab, series

CANARY = "canary"
NUMBER = 86753.09

WHOLE = document(
    patient={"id": "P01", "sex": "female", "birth_year": 1953, "weight_kg": 49, "steroid_resistant": True},
    labs=[lab(), lab(time="2005-03-17", status="corrected", version=2, issued="2005-03-18T00:00:00Z", comparator="<")],
    lab_series=[series(ids=["1", None], statuses=[None, "final"], upper_limits=[163, None], code="LDH")],
    assessments=[{"code": "MMT", "time": "2005-03-16", "score": 62, "scale_max": 100}],
    infusions=[{"time": "2005-04-11", "product": "IVIG", "dose": 0.4, "unit": "g/kg", "course": 1}],
    medications=[{"drug": "prednisolone", "start": "2005-01-20", "end": "2005-02-20", "dose": 50, "unit": "mg/d"}],
    adverse_events=[{"term": "headache", "onset": "2005-04-12", "serious": False, "related": "possible"}],
    ended={"date": "2006-09-01", "reason": "completed"},
)
PROTOCOL = SEED_2008.model_dump(mode="json")

READERS = {
    "timeline": lambda body: read_timeline(body, LATEST),
    "array": lambda body: read_array(body, LATEST),
    "lines": lambda body: read_ndjson(body, LATEST),
    "protocol": lambda body: read_model(body, Protocol),
}


def refusals(body: bytes) -> list[ServiceError]:
    """The refusals of every reader; any other exception is a failure of the test."""
    found = []
    for read in READERS.values():
        try:
            read_items = read(body)
        except ServiceError as error:
            found.append(error)
        else:
            found += [item.error for item in read_items if item.error] if isinstance(read_items, list) else []
    return found


def resolves(document: object, pointer: str) -> bool:
    """Whether a pointer leads to a place of the document, or to a field that the object there lacks."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for i, step in enumerate(steps):
        if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return isinstance(document, dict) and i == len(steps) - 1
    return True


def places(document: object) -> list[tuple]:
    """Every place of a document that can be changed."""
    if isinstance(document, dict):
        return [()] + [(key, *rest) for key, inner in document.items() for rest in places(inner)]
    if isinstance(document, list):
        return [()] + [(i, *rest) for i, inner in enumerate(document) for rest in places(inner)]
    return [()]


SCALARS = st.sampled_from(
    [None, True, False, 0, -1, 1.5, NUMBER, -NUMBER, 1e12, 10**30, f"{CANARY} 1", f"\u0000{CANARY}", f"{CANARY}/~",
     CANARY * 99, "", "2005-02-30", f"2005-03-16T{CANARY}", "2005-03-16T09:48:00", "2027-12-31", "U/L", "ng/mL", "CK",
     "final", [], {}, [[]], {"a": {}}]
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([CANARY, f"{CANARY}/", "id", "labs", "patient", "rule"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def damaged(draw, whole):
    """A good document with something else at one to four of its places, or with a key that does not belong there."""
    document = deepcopy(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.sampled_from(places(document)))
        if not place:
            continue
        parent = document
        for step in place[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "remove", "rename", "double"]))
        if change == "replace":
            parent[place[-1]] = draw(ANYTHING)
        elif change == "double" and isinstance(parent, list):
            parent.append(deepcopy(parent[place[-1]]))
        elif change == "rename" and isinstance(parent, dict):
            parent[CANARY] = parent.pop(place[-1])
        else:
            del parent[place[-1]]
    return document


def silent(error: ServiceError) -> bool:
    said = all_text(error)
    return CANARY not in said and "86753" not in said and "canar" not in said.lower()


@given(damaged(WHOLE))
@settings(max_examples=repeats(300))
def test_a_damaged_timeline_is_read_or_refused_without_being_repeated(timeline):
    for error in refusals(json.dumps(timeline).encode()):
        assert error.faults
        assert silent(error)
        assert [fault.pointer for fault in error.faults if not resolves(timeline, fault.pointer)] == []


@given(damaged(PROTOCOL))
@settings(max_examples=repeats(300))
def test_a_damaged_protocol_is_read_or_refused_without_being_repeated(protocol):
    for error in refusals(json.dumps(protocol).encode()):
        assert silent(error)
        assert [fault.pointer for fault in error.faults if not resolves(protocol, fault.pointer)] == []


@given(damaged(WHOLE), st.integers(0, 5))
def test_a_fault_of_meaning_is_told_whatever_else_is_wrong(timeline, extra):
    """A result with an impossible date is found beside any damage, unless the list of results itself is damaged."""
    labs = timeline.get("labs", [])
    if not isinstance(labs, list):
        return
    timeline["labs"] = [*labs, *[lab(time="2005-02-30")] * (extra + 1)]
    with pytest.raises(ServiceError) as caught:
        read_timeline(json.dumps(timeline).encode(), LATEST)
    if caught.value.status == 422:
        told = {(fault.pointer, fault.code) for fault in caught.value.faults}
        assert {(f"/labs/{len(labs) + i}/time", FaultCode.BAD_TIME) for i in range(extra + 1)} <= told


@given(damaged(WHOLE), st.data())
def test_damaged_bytes_are_read_or_refused_without_being_repeated(timeline, data):
    body = bytearray(json.dumps(timeline, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\u0000", b"1e999"])
        )
    for error in refusals(bytes(body)):
        assert silent(error)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.lists(ANYTHING).map(lambda items: "\n".join(map(json.dumps, items)).encode())
)
def test_any_bytes_are_read_or_refused_without_being_repeated(body):
    for error in refusals(body):
        assert silent(error)


@given(ANYTHING)
def test_any_json_is_read_or_refused_without_being_repeated(document):
    for body in (document, [document], {"patient": document}, {"patient": {"id": "a"}, "labs": [document]}):
        for error in refusals(json.dumps(body).encode()):
            assert silent(error)


def test_a_detail_of_a_malformed_body_is_a_place():
    for body in (b'{"canary": canary}', b"canary", b'"canary', b"86753.", b'{"canary":1,"canary":1}'):
        for error in refusals(body):
            assert error.detail is None or re.fullmatch(r"The fault is at line \d+, byte \d+\.", error.detail)
