"""The catalogue of bad input, rows 78 to 92: resources of FHIR R4.

The numbers are those of the research note this list comes from. Where the design answers differently from the note the
row says so. What is refused is refused with an OperationOutcome that names type of issue, code and place, repeats
nothing of what was sent, and changes no byte of the database.
"""

import json
import math
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests.api.fhir_bodies import HOSPITAL, LOINC, UCUM, URN, bundle, entry, named
from tests.api.fhir_bodies import ldh as ldh_of
from tests.catalogue.feeds import (
    RefusedResource,
    Tried,
    Ward,
    about,
    faults_of,
    observation,
    parameters,
    person,
    quantity,
    refused,
    reveals_nothing,
    row,
    served,
)
from tests.catalogue.service import CANARY, NUMBER

AT = "Observation"
CK_MB = {"system": LOINC, "code": "13969-1"}
CK = {"system": LOINC, "code": "2157-6"}
EXTENSION = {"url": f"http://{CANARY}", "valueBoolean": True}
PSEUDONYMS = {"identifiers": "pseudonyms"}


def result(code: str, kind: str, place: str, /, **elements: Any) -> RefusedResource:
    """An Observation with one fault, which these elements bring in."""
    return refused(observation(**elements), code, kind, f"{AT}.{place}")


def without(name: str, **elements: Any) -> dict[str, Any]:
    """An Observation that lacks an element."""
    return {k: v for k, v in observation(**elements).items() if k != name}


def component(code: str, value: float, **more: Any) -> dict[str, Any]:
    """A part of a panel."""
    return {"code": {"coding": [{"system": LOINC, "code": code}]},
            "valueQuantity": {"value": value, "system": UCUM, "code": "U/L"}} | more  # fmt: skip


def panel(*components: dict[str, Any]) -> dict[str, Any]:
    """A panel without a value of its own."""
    of_panel = {"coding": [{"system": LOINC, "code": "24325-3"}]}
    return without("valueQuantity", code=of_panel, referenceRange=[], component=list(components))


def left_alone(ward: Ward, resource: dict[str, Any], why: str) -> None:
    """A resource is answered 200 with the reason why nothing of it is kept."""
    before = ward.service.ledger()
    answer = ward.resource(resource)
    assert answer.status_code == 200, answer.text
    [issue] = answer.json()["issue"]
    assert (issue["severity"], codes_of(issue)) == ("warning", [why, "not_ours"])
    reveals_nothing(answer)
    assert ward.service.ledger() == before
    assert ward.set_aside() == []


def set_aside(ward: Ward, resource: dict[str, Any], why: str, place: str, kept: Sequence[float] = ()) -> None:
    """One result of a resource is set aside for this reason and listed in the worklist; it does not count."""
    answer = ward.resource(resource, Prefer="return=OperationOutcome")
    assert answer.status_code == (201 if kept else 200), answer.text
    [issue] = [each for each in answer.json()["issue"] if each["severity"] == "warning"]
    assert (codes_of(issue), issue["expression"]) == ([why, "set_aside"], [place])
    reveals_nothing(answer)
    assert ward.values() == list(kept)
    worklist = ward.set_aside()
    assert [(item["reason"], item["place"]) for item in worklist] == [(why, place)]
    assert "canary" not in json.dumps(worklist).lower()
    assert CANARY not in ward.service.database()


def codes_of(issue: dict[str, Any]) -> list[str]:
    """The codes of an issue."""
    return [each["code"] for each in issue["details"]["coding"]]


def an_address_without_a_reader_takes_nothing(ward: Ward) -> None:
    for path in ("/Encounter", f"/{CANARY}"):
        answer = ward.resource({"resourceType": "Encounter", "id": CANARY}, path)
        assert answer.status_code == 404
        assert faults_of(answer.json()) == [("not-supported", "unsupported", "http")]
        reveals_nothing(answer)


def a_contained_patient_is_known_by_its_identifier(ward: Ward) -> None:
    contained = [person(id="p1")]
    ward.takes(observation(), ldh_of(300, contained=contained, subject={"reference": "#p1"}))
    assert len(ward.subjects()) == 1
    assert len(ward.labs()) == 2


def no_reference_is_fetched(ward: Ward) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        address = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/fhir/Patient/{CANARY}"
        answer = ward.resource(about(reference=address))
        assert (answer.status_code, faults_of(answer.json())[0][:2]) == (422, ("not-found", "unknown_reference"))
        ward.takes(about(reference=address, identifier={"system": HOSPITAL, "value": CANARY}))
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def spellings_of_a_unit_are_those_of_the_table(ward: Ward) -> None:
    for number, value in enumerate(({"unit": "IU/L"}, {"unit": "U/l"}, {"system": UCUM, "code": "ukat/L"})):
        ward.takes(quantity(**value) | {"identifier": named(f"{number}")})
    assert sorted(lab["unit"] for lab in ward.labs()) == ["IU/L", "U/l", "ukat/L"]


def a_bound_is_never_the_bare_number(ward: Ward) -> None:
    ward.takes(quantity(comparator="<", unit="U/L"))
    assert [(lab["value"], lab["comparator"]) for lab in ward.labs()] == [(NUMBER, "<")]
    draws = [("2005-04-10", 1000, {}), ("2005-05-09", 100, {"comparator": "<"}), ("2005-06-06", 150, {})]
    ward.client.put(f"{ward.home}/patients/P9", json={"patient": {"id": "P9"}, "labs": [
        {"code": "CK", "time": time, "value": value, "unit": "U/L", "upper_limit": 163} | bound
        for time, value, bound in draws
    ], "infusions": [{"time": "2005-04-11", "product": "IVIG"}]}).raise_for_status()  # fmt: skip
    asked = {"protocol": "seed-2008", "timelines": [ward.timeline("P9")]}
    analyses = ward.client.post("/v1/analyses", json=asked).json()["analyses"]
    assert [each["n"] for each in analyses["ck-normal-time"]["results"]][:1] == [1]  # below 100 is below 163
    change = next(each for each in analyses["weekly-change"]["results"]
                  if (each["measure"], each["week"], each["scale"]) == ("CK", 4, "ln"))  # fmt: skip
    assert (change["geometric_mean_ratio"], change["reason"]) == (None, "too_few_known")  # one bound tells no mean
    assert math.exp(change["bounds"]["substituted_mean"]) == pytest.approx(0.05)  # half of the bound, and named so
    assert any(flag["code"] == "comparator" for flag in analyses["weekly-change"]["flags"])


def a_reason_for_no_value_withdraws_the_value(ward: Ward) -> None:
    reason = {"coding": [{"code": "unknown"}]}
    ward.takes(observation())
    answer = ward.resource(without("valueQuantity", dataAbsentReason=reason))
    assert answer.status_code == 200, answer.text
    assert ward.labs() == []


def what_was_an_error_is_withdrawn_and_stays_in_the_history(ward: Ward) -> None:
    ward.takes(observation())
    answer = ward.resource(without("valueQuantity", status="entered-in-error"))
    assert answer.status_code == 200, answer.text
    assert ward.labs() == []
    [subject] = ward.subjects()
    history = ward.client.get(f"{ward.home}/patients/{subject}/history").json()
    assert "7391.25" in json.dumps(history)
    assert ward.resource(observation()).status_code == 200  # a late original
    assert ward.labs() == []


def what_is_preliminary_counts_until_something_newer_comes(ward: Ward) -> None:
    ward.takes(observation(status="preliminary"))
    assert [lab["status"] for lab in ward.labs()] == ["preliminary"]
    ward.takes(observation(status="final", valueQuantity={"value": 900, "unit": "U/L"}))
    assert ward.values() == [900]
    ward.takes(observation(status="preliminary"))
    assert ward.values() == [900]
    left_alone(ward, observation(status="registered"), "status")
    assert ward.resource(without("valueQuantity", status="cancelled")).status_code == 200
    assert ward.labs() == []


def each_component_is_a_result_with_the_number_of_its_panel(ward: Ward) -> None:
    ward.takes(panel(component("2157-6", NUMBER), component("2532-0", 300), component("2951-2", 140)))
    labs = ward.labs()
    assert sorted((lab["code"], lab["value"]) for lab in labs) == [("CK", NUMBER), ("LDH", 300)]
    assert len({lab["id"] for lab in labs}) == 1


WITHOUT_UNIT = panel(component("2157-6", NUMBER), component("2532-0", 300) | {"valueQuantity": {"value": 300}})


def plain_extensions_are_dropped(ward: Ward) -> None:
    value = {"value": NUMBER, "unit": "U/L", "extension": [EXTENSION]}
    answer = ward.resource(observation(extension=[EXTENSION], valueQuantity=value, unheardOf=CANARY))
    assert answer.status_code == 201, answer.text
    assert "canary" not in answer.text
    ward.takes(observation(_status={"extension": [EXTENSION]}, identifier=named("2")))


def what_is_about_something_else_is_not_counted(ward: Ward) -> None:
    left_alone(ward, observation(focus=[{"reference": f"Device/{CANARY}"}]), "resource")


def an_open_period_counts_from_its_start(ward: Ward) -> None:
    ward.takes(without("effectiveDateTime", effectivePeriod={"start": "2005-03-16"}))
    assert [lab["time"] for lab in ward.labs()] == ["2005-03-16"]


ROWS = [
    row(
        78,
        "another type of resource: the note asks for the issue type structure; a word that is not one is code-invalid",
        refused(observation(resourceType=CANARY), "unknown_value", "code-invalid", "resourceType", path="/Observation"),
        refused(person(), "unknown_value", "code-invalid", "resourceType", path="/Observation"),
        refused(without("resourceType"), "missing", "required", "resourceType", path="/Observation"),
        refused(without("resourceType"), "missing", "required", "resourceType", path=""),
        refused(observation(), "unknown_value", "code-invalid", "resourceType", path=""),
        refused([observation()], "wrong_type", "structure", "", path=""),
        refused(b"null", "wrong_type", "structure", "", path="/Observation"),
        refused(bundle(type="history"), "unsupported", "not-supported", "Bundle.type"),
        refused(bundle(type="document"), "unsupported", "not-supported", "Bundle.type"),
        refused({"resourceType": "Bundle", "entry": []}, "missing", "required", "Bundle.type"),
        RefusedResource(
            bundle(entry(observation(resourceType=7), url="Observation"), entry(person())),
            (
                ("structure", "wrong_type", "Bundle.entry[0].resource.resourceType"),
                ("value", "path_mismatch", "Bundle.entry[0].request.url"),
            ),
        ),
        Tried(an_address_without_a_reader_takes_nothing),
    ),
    row(
        79,
        "a contained subject: without an identifier nobody is named (required), one that is not there is not found",
        refused(
            about(reference="#p1") | {"contained": [{"resourceType": "Patient", "id": "p1", "gender": "female"}]},
            "no_subject",
            "required",
            f"{AT}.subject.reference",
        ),
        refused(about(reference=f"#{CANARY}"), "unknown_reference", "not-found", f"{AT}.subject.reference"),
        refused(
            about(reference="#p1") | {"contained": [{"resourceType": "Device", "id": "p1"}]},
            "unsupported",
            "not-supported",
            f"{AT}.subject.reference",
        ),
        refused(about(display=CANARY), "no_subject", "required", f"{AT}.subject"),
        refused(without("subject"), "no_subject", "required", f"{AT}.subject"),
        Tried(a_contained_patient_is_known_by_its_identifier),
    ),
    row(
        80,
        "references to other servers, or out of the bundle",
        *(
            refused(about(reference=reference), "unknown_reference", "not-found", f"{AT}.subject.reference", declared=d)
            for d in ({}, PSEUDONYMS)
            for reference in (
                f"https://{CANARY}.example/fhir/Patient/1",
                "http://169.254.169.254/latest/Patient/1",
                URN,
                f"file:///{CANARY}",
                f"urn:oid:1.2.{CANARY}",
                f"../Patient/{CANARY}",
            )
        ),
        refused(about(reference=f"Patient/{CANARY}"), "unknown_reference", "not-found", f"{AT}.subject.reference"),
        refused(
            bundle(entry(about(reference=URN)), {"fullUrl": URN[:-1] + "0", **entry(person())}),
            "unknown_reference",
            "not-found",
            "Bundle.entry[0].resource.subject.reference",
        ),
        Tried(no_reference_is_fetched),
    ),
    row(
        81,
        "a value without a unit, or with a text for one",
        refused(quantity(), "unknown_unit", "code-invalid", f"{AT}.valueQuantity.unit"),
        *(
            refused(quantity(unit=unit), "unknown_unit", "code-invalid", f"{AT}.valueQuantity.unit")
            for unit in ("", CANARY, "MU/L", "units per litre")
        ),
        refused(quantity(system=UCUM, code=CANARY), "unknown_unit", "code-invalid", f"{AT}.valueQuantity.code"),
        refused(
            quantity(system=UCUM, code="ukat/L", unit="U/L"),
            "unit_mismatch",
            "code-invalid",
            f"{AT}.valueQuantity.unit",
        ),
        refused(quantity(unit="ng/mL"), "mass_unit", "code-invalid", f"{AT}.valueQuantity.unit"),
        Tried(spellings_of_a_unit_are_those_of_the_table),
    ),
    row(
        82,
        "comparators: a bound is kept as one",
        *(
            refused(
                quantity(unit="U/L", comparator=sign), "unknown_value", "code-invalid", f"{AT}.valueQuantity.comparator"
            )
            for sign in ("~", "=", CANARY, "")
        ),
        Tried(a_bound_is_never_the_bare_number),
    ),
    row(
        83,
        "a reason why there is no value",
        result("value_and_reason", "invariant", "dataAbsentReason", dataAbsentReason={"text": CANARY}),
        refused(without("valueQuantity"), "missing", "required", f"{AT}.value[x]"),
        refused(
            panel(component("2157-6", NUMBER, dataAbsentReason={"text": CANARY})),
            "value_and_reason",
            "invariant",
            f"{AT}.component[0].dataAbsentReason",
        ),
        Tried(a_reason_for_no_value_withdraws_the_value),
    ),
    row(84, "entered in error", Tried(what_was_an_error_is_withdrawn_and_stays_in_the_history)),
    row(
        85,
        "statuses: the note would not count what is preliminary; the design does until something newer comes",
        result("unknown_value", "code-invalid", "status", status=CANARY),
        result("unknown_value", "code-invalid", "status", status="Final"),
        result("missing", "required", "status", status=None),
        Tried(what_is_preliminary_counts_until_something_newer_comes),
    ),
    row(
        86,
        "panels: the note refuses one that is in part wrong; its other results are kept, but not in a transaction",
        refused(
            bundle(entry(WITHOUT_UNIT)),
            "unknown_unit",
            "code-invalid",
            "Bundle.entry[0].resource.component[1].valueQuantity.unit",
        ),
        Tried(
            lambda ward: set_aside(
                ward, WITHOUT_UNIT, "unknown_unit", f"{AT}.component[1].valueQuantity.unit", kept=[NUMBER]
            )
        ),
        refused(
            panel(component("2157-6", NUMBER), component("2157-6", 7)),
            "conflicting_duplicate",
            "conflict",
            f"{AT}.component[1]",
        ),
        Tried(each_component_is_a_result_with_the_number_of_its_panel),
    ),
    row(
        87,
        "modifiers that nobody here understands",
        result("unknown_modifier", "extension", "modifierExtension", modifierExtension=[EXTENSION]),
        result("unknown_modifier", "extension", "implicitRules", implicitRules=f"http://{CANARY}"),
        refused(
            quantity(unit="U/L", modifierExtension=[EXTENSION]),
            "unknown_modifier",
            "extension",
            f"{AT}.valueQuantity.modifierExtension",
        ),
        result(
            "unknown_modifier",
            "extension",
            "code.modifierExtension",
            code={"coding": [CK], "modifierExtension": [EXTENSION]},
        ),
        refused(
            panel(component("2157-6", NUMBER, modifierExtension=[EXTENSION])),
            "unknown_modifier",
            "extension",
            f"{AT}.component[0].modifierExtension",
        ),
        refused(
            bundle(entry(observation()) | {"modifierExtension": [EXTENSION]}),
            "unknown_modifier",
            "extension",
            "Bundle.entry[0].modifierExtension",
        ),
        refused(
            bundle(entry(observation())) | {"implicitRules": CANARY},
            "unknown_modifier",
            "extension",
            "Bundle.implicitRules",
        ),
        refused(person(modifierExtension=[EXTENSION]), "unknown_modifier", "extension", "Patient.modifierExtension"),
        refused(
            json.dumps(observation(modifierExtension=[EXTENSION])).replace("modifierE", "\\u006dodifierE").encode(),
            "unknown_modifier",
            "extension",
            f"{AT}.modifierExtension",
            path="/Observation",
        ),
    ),
    row(88, "plain extensions: accepted and dropped", Tried(plain_extensions_are_dropped)),
    row(89, "a focus", Tried(what_is_about_something_else_is_not_counted)),
    row(
        90,
        "values of other types: the note asks for the issue type value; it is not-supported; words are set aside",
        *(
            refused(without("valueQuantity", **{name: value}), "unsupported", "not-supported", f"{AT}.{name}")
            for name, value in (
                ("valueString", f"{NUMBER} U/L"),
                ("valueInteger", 7391),
                ("valueRange", {"low": {"value": NUMBER}}),
                ("valueRatio", {"numerator": {"value": NUMBER}}),
            )
        ),
        *(
            Tried(lambda ward, no_number=no_number: set_aside(ward, no_number, "not_a_number", AT))
            for no_number in (
                without("valueQuantity", valueCodeableConcept={"text": CANARY}),
                without("valueQuantity", valueBoolean=True),
            )
        ),
        result("repeated_value", "structure", "value[x]", valueString=CANARY),
        *(
            refused(observation(valueQuantity={"value": value, "unit": "U/L"}), code, kind, f"{AT}.valueQuantity.value")
            for value, code, kind in (
                (f"{NUMBER}", "wrong_type", "structure"),
                (True, "wrong_type", "structure"),
                (-1, "out_of_range", "value"),
                (1e9, "out_of_range", "value"),
            )
        ),
        result("wrong_type", "structure", "valueQuantity", valueQuantity=NUMBER),
    ),
    row(
        91,
        "periods, and no time at all: when it was issued is no substitute; a period counts from its start, not flagged",
        refused(
            without("effectiveDateTime", issued="2005-03-17T08:00:00+09:00"),
            "missing",
            "required",
            f"{AT}.effective[x]",
        ),
        refused(
            without("effectiveDateTime", effectivePeriod={"end": "2005-03-17"}),
            "missing",
            "required",
            f"{AT}.effectivePeriod.start",
        ),
        refused(
            without("effectiveDateTime", effectiveTiming={"event": ["2005-03-17"]}),
            "unsupported",
            "not-supported",
            f"{AT}.effectiveTiming",
        ),
        result("repeated_value", "structure", "effective[x]", effectiveInstant="2005-03-17T08:00:00+09:00"),
        Tried(an_open_period_counts_from_its_start),
    ),
    row(
        92,
        "codes that disagree; CK-MB is not CK",
        result("code_conflict", "code-invalid", "code", code={"coding": [CK, CK_MB]}),
        result("code_conflict", "code-invalid", "code", code={"coding": [CK, {"system": LOINC, "code": "2532-0"}]}),
        result("code_conflict", "code-invalid", "code", code={"coding": [CK], "text": "CK-MB"}),
        result("code_conflict", "code-invalid", "code", code={"coding": [CK | {"display": f"CKMB {CANARY}"}]}),
        Tried(lambda ward: left_alone(ward, observation(code={"coding": [CK_MB]}), "code")),
        Tried(lambda ward: left_alone(ward, observation(code={"coding": [{"code": "2157-6"}]}), "code")),
    ),
]


@pytest.fixture(scope="module")
def service(migrated_file):
    with served(migrated_file) as running:
        yield running


@pytest.mark.parametrize("each", parameters(ROWS))
def test_bad_resource(each, service, caplog):
    caplog.set_level("DEBUG", "myoresponse")
    each.check(service)
    assert "canary" not in caplog.text.lower()
