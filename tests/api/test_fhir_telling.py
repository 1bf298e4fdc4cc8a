"""What the FHIR facade says of a study: its capability statement and its rates as MeasureReports."""

from fhir.resources.R4B import get_fhir_model_class

from tests.api.conftest import BASE
from tests.api.examples import fill, lab, make_study, timeline
from tests.api.fhir_reads import HOME, got


def test_the_capability_statement_is_valid_and_tells_the_mapping(client):
    make_study(client, identifiers="pseudonyms", local_codes={"L|KK": "CK", "|IG": "IVIG"})
    said = got(client, "metadata")
    assert said == got(client, "metadata?_format=json")
    assert said["fhirVersion"] == "4.0.1"
    assert said["implementation"]["url"] == f"{BASE}{HOME}"
    [rest] = said["rest"]
    assert [each["type"] for each in rest["resource"]] == [
        "Patient", "Observation", "MedicationAdministration", "AdverseEvent", "MeasureReport",
    ]  # fmt: skip
    assert {each["code"] for each in rest["interaction"]} == {"transaction", "batch"}
    for resource in rest["resource"][:-1]:
        able = {each["code"] for each in resource["interaction"]}
        assert ("delete" in able) == (resource["type"] != "Patient")
        for parameter in resource["searchParam"]:
            asked = {"date": "ge2005", "token": "entered-in-error", "reference": "P01"}[parameter["type"]]
            got(client, f"{resource['type']}?{parameter['name']}={asked}")
    maps = {each["id"]: each for each in said["contained"]}
    assert {reference["valueReference"]["reference"] for reference in said["extension"]} == {
        f"#{name}" for name in maps
    }
    mapped = {
        (group.get("source"), element["code"]): element["target"][0]["code"]
        for group in maps["codes"]["group"]
        for element in group["element"]
    }
    assert mapped["http://loinc.org", "2157-6"] == mapped["L", "KK"] == "CK"
    assert mapped["http://www.whocc.no/atc", "J06BA02"] == mapped[None, "IG"] == "IVIG"
    assert client.get("/fhir/nowhere/metadata").status_code == 404


def test_a_measure_report_has_the_numbers_of_the_native_analysis(anywhere):
    home = fill(anywhere, 4)
    unmoved = timeline("P04", labs=[lab(day, 1000) for day in (-1, 7, 14, 56)], assessments=[
        {"code": "MMT", "time": day, "score": 60} for day in ("2005-04-10", "2005-05-09")])  # fmt: skip
    assert anywhere.put(f"{home}/patients/P04", json=unmoved).status_code == 201
    native = anywhere.get(f"{home}/analyses/response-rates").json()
    report = got(anywhere, "MeasureReport/response-rates")
    assert any(0 < each["responders"] < each["evaluable"] for each in native["results"])
    assert report["date"] == native["as_of"]
    assert [each["value"] for each in report["identifier"]] == [
        native["provenance"]["data"], native["provenance"]["protocol"],
    ]  # fmt: skip
    assert len(report["group"]) == len(native["results"]) > 0
    for group, result in zip(report["group"], native["results"], strict=True):
        counts = {each["code"]["coding"][0]["code"]: each["count"] for each in group["population"]}
        assert counts == {
            "initial-population": native["populations"]["all"],
            "denominator": result["evaluable"],
            "numerator": result["responders"],
        }
        assert group.get("measureScore", {}).get("value") == result["rate"]
        told = [
            {part["url"]: part.get("valueCode", part.get("valueDecimal")) for part in each["extension"]}
            for each in group["extension"]
            if each["url"].endswith(":interval")
        ]
        asked = [{name: each[name] for name in ("method", "level", "low", "high")} for each in result["intervals"]]
        assert told == ([] if result["reason"] else asked)


def test_a_report_of_adverse_reactions_counts_who_had_one(client):
    home = fill(client, 2)
    event = {"term": "rash", "onset": "2005-04-12", "related": True}
    client.post(f"{home}/patients/P01/events", json={"patient": {"id": "P01"}, "adverse_events": [event]})
    report = got(client, "MeasureReport/adverse-reactions")
    counts = [[each["count"] for each in group["population"]] for group in report["group"]]
    assert counts == [[2, 2, 1], [2, 2, 1], [2, 2, 0]]
    assert report["group"][0]["measureScore"]["value"] == 0.5
    assert report["period"]["end"] >= "2005-04-12"


def test_a_report_is_the_same_bytes_until_the_study_changes(client):
    home = make_study(client)
    empty = client.get(f"{HOME}/MeasureReport/response-rates")
    assert "measureScore" not in empty.json()["group"][0]
    get_fhir_model_class("MeasureReport").model_validate(empty.json())
    assert client.get(f"{HOME}/MeasureReport/response-rates").content == empty.content
    tag = {"If-None-Match": empty.headers["etag"]}
    assert client.get(f"{HOME}/MeasureReport/response-rates", headers=tag).status_code == 304
    client.put(f"{home}/patients/P01", json=timeline("P01"))
    assert client.get(f"{HOME}/MeasureReport/response-rates", headers=tag).status_code == 200
    assert client.get(f"{HOME}/MeasureReport/response-rates?revision=0").content == empty.content
