"""The FHIR facade for a whole study: its capability statement and its rates as MeasureReports."""

import pytest
from fhir.resources.R4B import get_fhir_model_class

from tests.api.conftest import BASE
from tests.api.examples import fill, lab, make_study, timeline
from tests.api.fhir_reads import HOME, got


def test_the_capability_statement_is_valid_and_holds_the_mapping(client):
    make_study(client, identifiers="pseudonyms", local_codes={"L|KK": "CK", "|IG": "IVIG"})
    said = got(client, "metadata")
    assert said == got(client, "metadata?_format=json")
    assert said["fhirVersion"] == "4.0.1"
    assert said["implementation"]["url"] == f"{BASE}{HOME}"
    [rest] = said["rest"]
    assert [each["type"] for each in rest["resource"]] == [
        "Patient", "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest",
        "AdverseEvent", "DiagnosticReport", "MeasureReport",
    ]  # fmt: skip
    assert {each["code"] for each in rest["interaction"]} == {"transaction", "batch"}
    for resource in rest["resource"][:-2]:
        for parameter in rest["searchParam"]:
            value = {
                "_count": 999,
                "_sort": "_lastUpdated",
                "_summary": "count",
                "_elements": "status",
                "_total": "none",
            }
            got(client, f"{resource['type']}?{parameter['name']}={value[parameter['name']]}")
        assert resource["conditionalUpdate"]
        able = {each["code"] for each in resource["interaction"]}
        assert ("delete" in able) == (resource["type"] != "Patient")
        for parameter in resource["searchParam"]:
            asked = {"date": "ge2005", "token": "entered-in-error", "reference": "P01"}[parameter["type"]]
            got(client, f"{resource['type']}?{parameter['name']}={asked}")
    assert [each["type"] for each in rest["resource"] if "operation" in each] == [
        each["type"] for each in rest["resource"][:-1]
    ]
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
    told = [each["extension"] for each in report["extension"] if each["url"].endswith(":claim")]
    assert [[each["valueCode"], supported["valueBoolean"], text["valueString"]] for each, supported, text in told] == [
        [claim["code"], claim["supported"], claim["text"]] for claim in native["claims"]
    ]
    assert len(report["group"]) == len(native["results"]) == len(told) > 0
    for group, result in zip(report["group"], native["results"], strict=True):
        counts = {each["code"]["coding"][0]["code"]: each["count"] for each in group["population"]}
        assert counts == {
            "initial-population": native["populations"]["all"],
            "denominator": result["evaluable"],
            "numerator": result["responders"],
        }
        assert group.get("measureScore", {}).get("value") == result["rate"]
        shown = [
            {part["url"]: part.get("valueCode", part.get("valueDecimal")) for part in each["extension"]}
            for each in group["extension"]
            if each["url"].endswith(":interval")
        ]
        asked = [{name: each[name] for name in ("method", "level", "low", "high")} for each in result["intervals"]]
        assert shown == ([] if result["reason"] else asked)


def test_a_report_of_adverse_reactions_counts_who_had_one(client):
    home = fill(client, 2)
    event = {"term": "rash", "onset": "2005-04-12", "related": True}
    client.post(f"{home}/patients/P01/events", json={"patient": {"id": "P01"}, "adverse_events": [event]})
    report = got(client, "MeasureReport/adverse-reactions")
    counts = [[each["count"] for each in group["population"]] for group in report["group"]]
    assert counts == [[2, 2, 1], [2, 2, 1], [2, 2, 0]]
    assert report["group"][0]["measureScore"]["value"] == 0.5
    assert report["period"]["end"] >= "2005-04-12"


CORE_SET = ("PHYSICIAN_GLOBAL", "PATIENT_GLOBAL", "MMT8", "HAQ", "EXTRAMUSCULAR")
BEFORE, HALF = (6, 6, 100, 2, 6), (3, 3, 125, 1, 3)


def improving(patient, *later):
    """A patient at baseline and four weeks later, with as many measures as are given."""
    visits = (("2005-04-10", 2000, BEFORE), ("2005-05-09", 1000, later))
    return timeline(
        patient,
        labs=[lab(0, ck, time=day) for day, ck, _ in visits],
        assessments=[
            {"code": code, "time": day, "score": score}
            for day, _, scores in visits
            for code, score in zip(CORE_SET, scores, strict=False)
        ],
    )


@pytest.mark.parametrize(
    ("analysis", "rates"),
    [
        ("improvement-score", lambda visit: [(level["level"], level) for level in visit["levels"]]),
        ("definition-of-improvement", lambda visit: [("improved", visit)]),
    ],
)
def test_a_report_of_improvement_has_a_group_for_each_rate_of_each_visit(client, analysis, rates):
    home = make_study(client, protocol="acr-eular-2016-adult" if analysis == "improvement-score" else "imacs-2004")
    for patient in (improving("P01", *HALF), improving("P02", *BEFORE), improving("P03", *HALF[:4])):
        assert client.put(f"{home}/patients/{patient['patient']['id']}", json=patient).status_code == 201
    native = client.get(f"{home}/analyses/{analysis}").json()
    report = got(client, f"MeasureReport/{analysis}")
    shown = [
        (
            group["code"]["coding"][0]["code"],
            *(each["count"] for each in group["population"]),
            group.get("measureScore", {}).get("value"),
            {each["url"].rpartition(":")[2]: each.get("valueInteger") for each in group["extension"]},
            len([each for each in group["extension"] if each["url"].endswith(":interval")]),
        )
        for group in report["group"]
    ]
    assert shown == [
        (
            name,
            native["populations"]["all"],
            visit["evaluable"],
            rate.get("responders", rate.get("improved")),
            rate["rate"],
            {
                "week": visit["week"],
                "numerator-at-least": rate.get("responders_at_least", rate.get("improved_at_least")),
                "numerator-at-most": rate.get("responders_at_most", rate.get("improved_at_most")),
                "treated": native["populations"]["safety"],
                "treated-numerator": rate["all_treated"]["counted"],
                "treated-numerator-at-most": rate["all_treated"]["at_most"],
                **({"reason": None} if rate["reason"] else {"interval": None}),
            },
            0 if rate["reason"] else len(rate["intervals"]),
        )
        for visit in native["results"]
        for name, rate in rates(visit)
    ]
    at_week_4 = [each for each in shown if each[5]["week"] == 4]
    assert at_week_4[0][:5] == (at_week_4[0][0], 3, 2, 1, 0.5)


def test_a_report_of_a_score_that_the_protocol_does_not_declare_says_so(client):
    fill(client, 1)
    report = got(client, "MeasureReport/improvement-score")
    assert "group" not in report
    assert {"url": "urn:myoresponse:extension:reason", "valueCode": "not_declared"} in report["extension"]


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
