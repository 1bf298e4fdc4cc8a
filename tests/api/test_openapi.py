"""The description of the API: complete, valid, and what is served."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app.errors import FaultCode
from app.http.openapi import specimen
from app.http.problems import KINDS
from app.protocol.model import Protocol
from tests.documented import description

ROOT = Path(__file__).parents[2]

TYPES = (
    "Patient", "Observation", "MedicationAdministration", "MedicationStatement", "MedicationRequest", "AdverseEvent",
)  # fmt: skip
FHIR = {
    "GET /fhir/{study}/metadata": "fhirCapabilities",
    "POST /fhir/{study}": "fhirTransaction",
    "GET /fhir/{study}/MeasureReport/{analysis}": "fhirReadMeasureReport",
    **{f"GET /fhir/{{study}}/{each}": f"fhirSearch{each}" for each in TYPES},
    **{f"POST /fhir/{{study}}/{each}/_search": f"fhirSearch{each}ByForm" for each in TYPES},
    **{f"POST /fhir/{{study}}/{each}": f"fhirCreate{each}" for each in TYPES},
    **{f"GET /fhir/{{study}}/{each}/{{id}}": f"fhirRead{each}" for each in TYPES},
    **{f"PUT /fhir/{{study}}/{each}/{{id}}": f"fhirUpdate{each}" for each in TYPES},
    **{f"PUT /fhir/{{study}}/{each}": f"fhirUpdate{each}ByIdentifier" for each in TYPES},
    "POST /fhir/{study}/{type}/$validate": "fhirValidate",
    "POST /fhir/{study}/{type}/{id}/$validate": "fhirValidateStored",
    "POST /fhir/{study}/DiagnosticReport": "fhirCreateDiagnosticReport",
    **{f"DELETE /fhir/{{study}}/{each}/{{id}}": f"fhirWithdraw{each}" for each in TYPES[1:]},
    **{f"GET /fhir/{{study}}/{each}/{{id}}/_history": f"fhirHistoryOf{each}" for each in TYPES},
    **{f"GET /fhir/{{study}}/{each}/{{id}}/_history/{{version}}": f"fhirReadVersionOf{each}" for each in TYPES},
}
"""The operations of the FHIR facade, by a rule for each interaction."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return description()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def fields(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            yield f"{name}.{field}", described


def parameters(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from document["components"]["parameters"].items()


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for choice in schema.get("anyOf", [schema]):
        if "$ref" in choice:
            return document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.slow
def test_the_file_at_the_top_of_the_tree_is_what_is_served(client, document):
    written = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert client.get("/openapi.yaml").text == written, "make openapi writes it anew"
    assert client.get("/openapi.json").json() == document


@pytest.mark.slow
def test_the_command_line_prints_the_same_bytes_whatever_the_order_of_hashing():
    command = [sys.executable, "-m", "app", "openapi"]
    printed = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "1"}, capture_output=True, check=True
    )
    assert printed.stdout == (ROOT / "openapi.yaml").read_bytes()


@pytest.mark.slow
def test_it_is_a_valid_description(document):
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_operation_says_what_it_does(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        assert any(status.startswith("2") for status in operation["responses"]), name


def test_the_operation_ids_are_the_ones_that_clients_were_generated_from(document):
    """To rename one breaks every generated client: add, never change."""
    assert {name: operation["operationId"] for name, operation in operations(document)} == FHIR | {
        "GET /livez": "getLiveness",
        "GET /readyz": "getReadiness",
        "GET /v1/studies": "listStudies",
        "GET /v1/studies/{study}": "getStudy",
        "PUT /v1/studies/{study}": "putStudy",
        "GET /v1/protocols": "listProtocols",
        "GET /v1/protocols/{protocol}": "getProtocol",
        "GET /v1/studies/{study}/protocol": "getStudyProtocol",
        "PUT /v1/studies/{study}/protocol": "putStudyProtocol",
        "GET /v1/studies/{study}/patients": "listPatients",
        "GET /v1/studies/{study}/patients/{patient}": "getTimeline",
        "GET /v1/studies/{study}/patients/{patient}/verdicts": "getVerdicts",
        "PUT /v1/studies/{study}/patients/{patient}": "putTimeline",
        "DELETE /v1/studies/{study}/patients/{patient}": "erasePatient",
        "POST /v1/studies/{study}/patients/{patient}/events": "postEvents",
        "POST /v1/studies/{study}/timelines": "postTimelines",
        "GET /v1/studies/{study}/set-aside": "listSetAside",
        "POST /v1/studies/{study}/set-aside/{item}/dismissal": "dismissSetAside",
        "GET /v1/studies/{study}/decisions": "listDecisions",
        "POST /v1/studies/{study}/patients/{patient}/decisions/{pair}": "decideFacts",
        "GET /v1/studies/{study}/intake": "getIntake",
        "GET /v1/studies/{study}/analyses": "getReport",
        "GET /v1/studies/{study}/analyses/response-rates": "getResponseRates",
        "POST /v1/studies/{study}/analyses/response-rates": "askResponseRates",
        "GET /v1/studies/{study}/analyses/weekly-change": "getWeeklyChange",
        "POST /v1/studies/{study}/analyses/weekly-change": "askWeeklyChange",
        "GET /v1/studies/{study}/analyses/ck-change": "getCkChange",
        "POST /v1/studies/{study}/analyses/ck-change": "askCkChange",
        "GET /v1/studies/{study}/analyses/ck-normal-time": "getCkNormalTime",
        "POST /v1/studies/{study}/analyses/ck-normal-time": "askCkNormalTime",
        "GET /v1/studies/{study}/analyses/ck-normal-interval": "getCkNormalInterval",
        "POST /v1/studies/{study}/analyses/ck-normal-interval": "askCkNormalInterval",
        "GET /v1/studies/{study}/analyses/ck-normal-groups": "getCkNormalGroups",
        "POST /v1/studies/{study}/analyses/ck-normal-groups": "askCkNormalGroups",
        "GET /v1/studies/{study}/analyses/adverse-reactions": "getAdverseReactions",
        "POST /v1/studies/{study}/analyses/adverse-reactions": "askAdverseReactions",
        "GET /v1/studies/{study}/analyses/baseline-table": "getBaselineTable",
        "POST /v1/studies/{study}/analyses/baseline-table": "askBaselineTable",
        "POST /v1/analyses": "askUnstored",
        "GET /v1/planning/proportion": "planProportion",
        "GET /v1/planning/paired-change": "planPairedChange",
        "GET /v1/planning/median-time": "planMedianTime",
        "GET /v1/studies/{study}/analyses/specification-curve": "getSpecificationCurve",
        "POST /v1/studies/{study}/analyses/specification-curve": "askSpecificationCurve",
        "GET /v1/studies/{study}/analyses/planning": "getPlanning",
        "POST /v1/studies/{study}/analyses/planning": "askPlanning",
        "GET /v1/studies/{study}/analyses/what-is-missing": "getWhatIsMissing",
        "POST /v1/studies/{study}/analyses/what-is-missing": "askWhatIsMissing",
        "GET /v1/studies/{study}/analyses/caveats": "getCaveats",
        "POST /v1/studies/{study}/analyses/caveats": "askCaveats",
        "GET /v1/studies/{study}/analyses/sensitivity": "getSensitivity",
        "POST /v1/studies/{study}/analyses/sensitivity": "askSensitivity",
        "GET /v1/studies/{study}/analyses/courses": "getCourses",
        "POST /v1/studies/{study}/analyses/courses": "askCourses",
        "GET /v1/studies/{study}/analyses/safety": "getSafety",
        "POST /v1/studies/{study}/analyses/safety": "askSafety",
        "GET /v1/studies/{study}/analyses/comparisons": "getComparisons",
        "POST /v1/studies/{study}/analyses/comparisons": "askComparisons",
        "GET /v1/studies/{study}/analyses/improvement-score": "getImprovementScore",
        "POST /v1/studies/{study}/analyses/improvement-score": "askImprovementScore",
        "GET /v1/studies/{study}/analyses/definition-of-improvement": "getDefinitionOfImprovement",
        "POST /v1/studies/{study}/analyses/definition-of-improvement": "askDefinitionOfImprovement",
        "GET /v1/studies/{study}/analyses/steroid-sparing": "getSteroidSparing",
        "POST /v1/studies/{study}/analyses/steroid-sparing": "askSteroidSparing",
        "GET /v1/studies/{study}/analyses/repeated-measures": "getRepeatedMeasures",
        "POST /v1/studies/{study}/analyses/repeated-measures": "askRepeatedMeasures",
        "GET /v1/studies/{study}/comparisons/{other}": "compareStudies",
        "POST /v1/verify": "verifyPublishedFigure",
        "GET /v1/studies/{study}/datasets": "listDatasets",
        "GET /v1/studies/{study}/datasets/{name}": "getDataset",
        "GET /v1/studies/{study}/series": "getSeries",
        "GET /v1/studies/{study}/report": "getPrintedReport",
        "GET /v1/studies/{study}/charts": "listCharts",
        "GET /v1/studies/{study}/charts/{name}": "getChart",
        "GET /v1/studies/{study}/revisions": "listRevisions",
        "GET /v1/studies/{study}/changes": "getChanges",
        "GET /v1/studies/{study}/changes/stream": "getChangesStream",
        "GET /v1/audit": "listAudit",
        "GET /v1/studies/{study}/patients/{patient}/history": "listHistory",
        "POST /v1/studies/{study}/labs": "postLabs",
        "GET /v1/templates/labs.csv": "getLabsTemplate",
        "GET /v1/templates/{kind}.csv": "getTableTemplate",
        "GET /v1/templates/tables.xlsx": "getWorkbookTemplate",
        "POST /v1/studies/{study}/tables": "postTables",
        "POST /v1/studies/{study}/tables/{kind}": "postTable",
        "POST /v1/studies/{study}/hl7v2": "postHl7v2",
        "GET /problems": "listProblems",
        "GET /problems/{slug}": "getProblem",
    }


def test_every_response_is_described_and_every_refusal_has_the_one_shape(document):
    shared = document["components"]["responses"]
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            if status.startswith(("2", "3")):
                given = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
                assert given["description"], name
                continue
            if "application/hl7-v2" in response.get("content", {}):  # the acknowledgement says what is wrong
                assert response["content"]["application/problem+json"]["schema"] == {
                    "$ref": "#/components/schemas/Problem"
                }
                continue
            refusal = shared[response["$ref"].rpartition("/")[2]]
            assert refusal["description"], name
            if " /fhir/" in name:
                content = refusal["content"]["application/fhir+json"]
                one_shape = {"$ref": "#/components/schemas/OperationOutcome"}
                of_a_batch = {"anyOf": [one_shape, {"$ref": "#/components/schemas/FhirBundle"}]}
                assert content["schema"] in (one_shape, of_a_batch)
                continue
            content = refusal["content"]["application/problem+json"]
            outcomes = (
                name.endswith(("/timelines", "/labs", "/tables", "/tables/{kind}")) and status == "422"
            )  # a problem with what became of each
            assert content["schema"] == {"$ref": f"#/components/schemas/{'BatchRefusal' if outcomes else 'Problem'}"}
            for example in content["examples"].values():
                assert example["value"]["status"] == int(status)
    for method in ("put", "post"):
        for path, item in document["paths"].items():
            if method in item:
                assert {"400", "408", "413", "415", "422"} <= set(item[method]["responses"]), path


def test_every_parameter_has_a_description_and_an_example(document):
    for name, parameter in parameters(document):
        assert parameter["description"], name
        assert parameter["schema"]["examples"], name
        assert "anyOf" not in parameter["schema"], name


def test_every_body_is_described_by_a_schema(document):
    for name, operation in operations(document):
        reads = name.startswith(("PUT", "POST"))
        assert ("requestBody" in operation) == reads, name
        if reads:
            assert operation["requestBody"]["required"]
            assert operation["requestBody"]["description"]
            for content in operation["requestBody"]["content"].values():
                inner = content["schema"].get("items", content["schema"])
                schema = resolved(document, inner)
                forms = [resolved(document, each) for each in schema.get("oneOf", [schema])]
                assert inner.get("type") == "string" or all("properties" in form for form in forms), name


def test_every_field_has_a_description(document):
    assert [name for name, field in fields(document) if not field.get("description")] == []


def test_every_field_has_an_example_or_is_an_object_whose_fields_have_one(document):
    bare = [
        name
        for name, field in fields(document)
        if "examples" not in field and "properties" not in resolved(document, field) and "const" not in field
    ]
    assert bare == []


def test_every_example_is_an_example_of_what_it_stands_beside(document):
    wrong = []
    for name, field in fields(document):
        schema = {**field, "components": document["components"]}
        for example in field.get("examples", []):
            wrong += [f"{name}: {each.message}" for each in Draft202012Validator(schema).iter_errors(example)]
    for name, parameter in parameters(document):
        for example in parameter["schema"]["examples"]:
            wrong += [
                f"{name}: {each.message}" for each in Draft202012Validator(parameter["schema"]).iter_errors(example)
            ]
    assert wrong == []


def test_every_example_of_a_refusal_is_what_its_schema_says(document):
    examples = [
        (name, {**content["schema"], "components": document["components"]}, example["value"])
        for name, answer in document["components"]["responses"].items()
        for content in answer.get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    refusals = [name for name in document["components"]["responses"] if "." not in name]
    # 304 has no body; 400, 403, 408 and 503 have two kinds of refusals, as a problem and as an OperationOutcome
    assert len(examples) == len(refusals) - 1 + 8
    wrong = [
        f"{name}: {each.message}"
        for name, schema, example in examples
        for each in Draft202012Validator(schema).iter_errors(example)
    ]
    assert wrong == []


def test_the_example_of_a_protocol_does_not_contradict_itself():
    example = specimen(Protocol)
    assert example["weekly_change"]
    assert Protocol.model_validate_json(json.dumps(example)).id == "seed-2008"


def test_no_field_of_a_form_is_null(document):
    """A form has no null."""
    forms = [
        resolved(document, content["schema"])
        for _, operation in operations(document)
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/x-www-form-urlencoded"
    ]
    assert len(forms) == 6
    assert [name for form in forms for name, field in form["properties"].items() if "null" in json.dumps(field)] == []


def test_every_schema_says_what_it_is(document):
    assert [name for name, schema in document["components"]["schemas"].items() if not schema.get("description")] == []
    assert [
        name for name in document["components"]["schemas"] if "__" in name or "Input" in name or "Output" in name
    ] == []


def test_every_kind_of_problem_and_every_code_is_enumerated(document):
    schemas = document["components"]["schemas"]
    assert schemas["Problem"]["properties"]["type"]["enum"] == [f"/problems/{slug}" for slug in KINDS]
    assert schemas["FaultCode"]["enum"] == [str(code) for code in FaultCode]
    for code in FaultCode:
        assert f"`{code}`" in schemas["ProblemFault"]["properties"]["code"]["description"]


@pytest.mark.slow
def test_answers_are_what_the_description_says(client, document):
    """One answer of each kind, validated against the schema that the description gives for it."""
    from tests.api.examples import fill

    home = fill(client, 3)
    addresses = {
        "/livez": "/livez",
        "/readyz": "/readyz",
        "/problems": "/problems",
        "/problems/{slug}": "/problems/invalid",
        "/v1/protocols": "/v1/protocols",
        "/v1/protocols/{protocol}": "/v1/protocols/seed-2008",
        "/v1/studies": "/v1/studies",
        "/v1/planning/proportion": "/v1/planning/proportion?rate=0.8&n=15&half_width=0.1",
        "/v1/planning/paired-change": "/v1/planning/paired-change?sd=0.55&difference=0.4",
        "/v1/planning/median-time": "/v1/planning/median-time?events=8",
        "/v1/studies/{study}/series": "/v1/studies/trial/series?measure=CK",
    }
    for template in document["paths"]:
        if template not in addresses and "get" in document["paths"][template]:
            address = template.replace("{study}", "trial").replace("{patient}", "P01")
            addresses[template] = address.replace("{analysis}", "response-rates").replace("Patient/{id}", "Patient/P01")
    addresses = {template: address for template, address in addresses.items() if "{" not in address}
    del addresses["/v1/templates/labs.csv"], addresses["/v1/templates/tables.xlsx"]  # tables
    del addresses["/v1/studies/{study}/changes/stream"]  # it goes on
    del addresses["/v1/studies/{study}/report"]  # Markdown
    for template, address in addresses.items():
        for query in ("", "?by=sex&patients=true") if "analyses" in template else ("",):
            answer = client.get(address + query)
            assert answer.status_code == 200, address
            media_type = "application/fhir+json" if template.startswith("/fhir/") else "application/json"
            described = document["paths"][template]["get"]["responses"]["200"]
            if "$ref" in described:
                described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
            content = described["content"][media_type]
            schema = {**content["schema"], "components": document["components"]}
            errors = [
                f"{list(each.path)}: {each.message[:200]}"
                for each in Draft202012Validator(schema).iter_errors(answer.json())
            ]
            assert errors == [], address
    refused = client.get(f"{home}/patients?limit=0").json()
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    assert list(Draft202012Validator(schema).iter_errors(refused)) == []


def test_every_parameter_stands_once_and_operations_refer_to_it(document):
    taken = {
        parameter["$ref"].rpartition("/")[2]: set(parameter)
        for _, operation in operations(document)
        for parameter in operation.get("parameters", [])
    }
    assert set(map(frozenset, taken.values())) == {frozenset({"$ref"})}
    assert set(taken) == set(document["components"]["parameters"])
    written = [json.dumps(parameter) for _, parameter in parameters(document)]
    assert len(set(written)) == len(written)
    for name, parameter in parameters(document):
        assert name.startswith(parameter["name"].replace(":", ".")), name
        assert "const" not in parameter["schema"], name  # generators take no constant in a header
    assert document["components"]["parameters"]["If-None-Match.putStudy"]["schema"]["enum"] == ["*"]


def test_every_header_stands_once_and_answers_refer_to_it(document):
    answers = [answer for _, operation in operations(document) for answer in operation["responses"].values()]
    answers += document["components"]["responses"].values()
    headers = [header for answer in answers for header in answer.get("headers", {}).items()]
    assert len(headers) > 50
    assert [name for name, header in headers if header != {"$ref": f"#/components/headers/{name}"}] == []
    assert {name for name, _ in headers} == set(document["components"]["headers"])


def test_what_may_be_left_out_has_no_default_of_null(document):
    def defaults(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            yield from (part["default"] for _ in range("default" in part))
        for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from defaults(each)

    found = list(defaults(document))
    assert len(found) > 20
    assert None not in found


def test_no_answer_claims_a_media_type_that_it_does_not_have(document):
    """FastAPI would add JSON without a schema to answers that are FHIR, tables or files."""
    empty = [
        name
        for name, operation in operations(document)
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
        if not content["schema"]
    ]
    assert empty == []


def test_the_names_of_schemas_do_not_stutter(document):
    words = {name: re.findall("[A-Z][a-z0-9]*", name) for name in document["components"]["schemas"]}
    assert [name for name, parts in words.items() if any(a == b for a, b in pairwise(parts))] == []


def test_no_schema_has_a_field_of_its_own_name(document):
    """Generators name the variable of an object after its schema; a field of that name would hide it."""
    own = [name for name, _ in fields(document) if len(set(name.lower().replace("_", "").split("."))) == 1]
    assert own == []


def test_it_is_small(document):
    assert (ROOT / "openapi.yaml").stat().st_size < 900_000


class TestServed:
    @pytest.mark.parametrize("address", ["/openapi.json", "/openapi.yaml"])
    def test_it_has_an_etag_by_which_a_client_is_spared_the_body(self, client, address):
        for coding in ("gzip", "identity"):
            answer = client.get(address, headers={"Accept-Encoding": coding})
            again = client.get(
                address, headers={"Accept-Encoding": coding, "If-None-Match": f'"other", {answer.headers["etag"]}'}
            )
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == answer.headers["etag"]
            assert again.headers["vary"] == answer.headers["vary"]

    @pytest.mark.parametrize(
        ("accepted", "coding"),
        [
            ("gzip", "gzip"),
            ("br, GZIP;q=0.5", "gzip"),
            ("gzip;q=0.001", "gzip"),
            ("gzip;q=0", None),
            ("br, gzip; q=0.000, identity", None),
            ("identity", None),
            ("br", None),
            ("", None),
        ],
    )
    def test_it_is_compressed_where_the_client_takes_gzip(self, client, accepted, coding):
        answer = client.get("/openapi.yaml", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == coding
        assert "Accept-Encoding" in answer.headers["vary"]
        assert answer.content == (ROOT / "openapi.yaml").read_bytes()
        assert (int(answer.headers["content-length"]) < len(answer.content) / 7) == (coding == "gzip")

    def test_the_two_codings_have_tags_of_their_own(self, client):
        tags = {
            client.get("/openapi.json", headers={"Accept-Encoding": coding}).headers["etag"]
            for coding in ("gzip", "identity")
        }
        assert len(tags) == 2

    def test_it_is_written_once(self, client, monkeypatch):
        from app.api import about

        before = client.get("/openapi.json").content
        monkeypatch.delattr(about, "openapi")
        assert client.get("/openapi.json").content == before


def test_the_page_to_read_it_asks_for_nothing_from_elsewhere(client):
    page = client.get("/docs/api")
    assert page.headers["content-type"].startswith("text/html")
    addresses = re.findall(r'(?:src|href|data-description)="([^"]*)"', page.text)
    assert addresses == [
        "/docs/files/swagger-ui.css",
        "/docs/files/favicon.png",
        "/openapi.json",
        "/docs/files/swagger-ui-bundle.js",
    ]
    assert "://" not in page.text
    for address in addresses:
        assert client.get(address).status_code == 200
        assert client.get(address).headers["cache-control"] == "public, max-age=300"
    policy = page.headers["content-security-policy"]
    script = page.text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "http" not in policy
    assert client.get("/redoc").status_code == 404


@pytest.mark.slow
def test_the_file_is_json_in_another_notation(document):
    written = (ROOT / "openapi.yaml").read_text(encoding="utf-8")
    assert yaml.load(written, yaml.CSafeLoader) == json.loads(json.dumps(document))
