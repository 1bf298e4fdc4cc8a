"""The catalogue of bad input, rows 93 to 95: bundles and versions of FHIR R4.

The numbers are those of the research note this list comes from; `test_bad_fhir` has the rows about single resources.
"""

from typing import Any

import pytest

from tests.api.fhir_bodies import URN, asks, bundle, entry, statuses
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


def batch(ward: Ward, *entries: dict[str, Any]) -> Any:
    answer = ward.resource(bundle(*entries, type="batch"))
    reveals_nothing(answer)
    return answer


def refusals(answer: Any) -> list[str]:
    """The status of each entry of a batch of which nothing is kept."""
    assert answer.status_code == 422, answer.text
    return [each["response"]["status"][:3] for each in answer.json()["entry"]]


def entries_refer_to_each_other_in_any_order(ward: Ward) -> None:
    answer = ward.resource(
        bundle(
            entry(about(reference=URN)),
            {"fullUrl": URN, **entry(person())},
            entry(ldh_of(300, subject={"reference": URN})),
        )
    )
    assert statuses(answer) == ["201", "201", "201"]
    assert len(ward.subjects()) == 1


def what_a_batch_cannot_do_is_told_by_entry(ward: Ward) -> None:
    unread = [entry(observation(), "PATCH", f"Observation/{CANARY}"), asks("GET", f"Observation/{CANARY}"),
              asks("HEAD", f"Patient/{CANARY}"), asks("CANARY", "Patient")]  # fmt: skip
    before = ward.service.ledger()
    told = ["405", "404", "405", "405"]
    assert refusals(batch(ward, *unread)) == told
    assert refusals(batch(ward, asks("DELETE", f"Observation/{CANARY}"))) == ["404"]
    assert ward.service.ledger() == before
    bad = quantity(unit=CANARY)
    answer = batch(ward, *unread, entry(observation()), entry(bad))
    assert statuses(answer) == [*told, "201", "422"]
    outcome = answer.json()["entry"][5]["response"]["outcome"]
    assert faults_of(outcome) == [("code-invalid", "unknown_unit", "Bundle.entry[5].resource.valueQuantity.unit")]
    assert statuses(batch(ward, asks("GET", "Patient"))) == ["200"]
    assert ward.values() == [NUMBER]


def ten_thousand_entries_are_read(ward: Ward) -> None:
    skipped = {"resource": {"resourceType": "Encounter"}}
    answer = ward.resource({"resourceType": "Bundle", "type": "collection", "entry": [skipped] * 10_000})
    assert len(statuses(answer)) == 10_000


def an_update_of_what_has_changed_is_refused(ward: Ward) -> None:
    first = ward.resource(observation()).json()
    path = f"/Observation/{first['id']}"
    correction = observation(id=first["id"], status="corrected", valueQuantity={"value": 900, "unit": "U/L"})
    later = ward.resource(correction, path, "PUT", If_Match=f'W/"{first["meta"]["versionId"]}"')
    assert later.status_code == 200, later.text
    again = observation(id=first["id"], status="corrected", meta={"versionId": first["meta"]["versionId"]})
    before = ward.service.ledger()
    for answer, status in (
        (ward.resource(again, path, "PUT"), 409),
        (ward.resource(again, path, "PUT", If_Match=f'W/"{first["meta"]["versionId"]}"'), 412),
        (ward.resource(correction, path, "PUT", If_Match=f'W/"{CANARY}"'), 412),
        (ward.resource(observation(id=CANARY), f"/Observation/{CANARY}", "PUT", If_Match="*"), 412),
        (ward.resource(correction, path, "PUT", If_None_Match="*"), 412),
    ):
        assert (answer.status_code, faults_of(answer.json())) == (status, [("conflict", "", "")])
        reveals_nothing(answer)
    assert ward.service.ledger() == before
    assert ward.values() == [900]


ROWS = [
    row(
        93,
        "what bundles ask for: a transaction only writes; a batch reads by GET, too",
        *(
            refused(bundle(entry(person()), asked), "unsupported", "not-supported", f"Bundle.entry[1].request{place}")
            for asked, place in (
                (entry(observation(), "PATCH", f"Observation/{CANARY}"), ".method"),
                (asks("HEAD", f"Observation/{CANARY}"), ".method"),
                (asks("GET", f"Observation/{CANARY}"), ""),
                (asks("DELETE", f"Observation?identifier={CANARY}"), ".url"),
                (entry(observation(), url=f"https://{CANARY}/Observation"), ".url"),
                (entry(observation(), url=f"../{CANARY}"), ".url"),
            )
        ),
        refused(bundle(entry(observation(), url="Patient")), "path_mismatch", "value", "Bundle.entry[0].request.url"),
        refused(bundle({"resource": observation()}), "missing", "required", "Bundle.entry[0].request"),
        refused(
            bundle(entry(person()), entry(quantity(unit=CANARY))),
            "unknown_unit",
            "code-invalid",
            "Bundle.entry[1].resource.valueQuantity.unit",
        ),
        Tried(entries_refer_to_each_other_in_any_order),
        Tried(what_a_batch_cannot_do_is_told_by_entry),
    ),
    row(
        94,
        "100,000 entries; entries that are many bytes are refused for these",
        *(
            RefusedResource(
                {"resourceType": "Bundle", "type": kind, "entry": [{"fullUrl": CANARY}] * count},
                (("too-long", "", ""),),
                413,
            )
            for kind in ("transaction", "batch", "collection")
            for count in (10_001, 100_000)
        ),
        RefusedResource(bundle(*[entry(observation())] * 25_000), (("too-long", "", ""),), 413),
        Tried(ten_thousand_entries_are_read),
    ),
    row(95, "versions that have passed", Tried(an_update_of_what_has_changed_is_refused)),
]


@pytest.fixture(scope="module")
def service(migrated_file):
    with served(migrated_file) as running:
        yield running


@pytest.mark.parametrize("each", parameters(ROWS))
def test_bad_bundle(each, service, caplog):
    caplog.set_level("DEBUG", "myoresponse")
    each.check(service)
    assert "canary" not in caplog.text.lower()
