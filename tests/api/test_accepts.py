"""Refused parameters, addresses and sizes say what would have been accepted; nothing of what was sent is repeated."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.analyses import QUESTIONS
from app.datasets import NAMES
from app.fhir.routes_about import MEASURED
from app.http.problems import KINDS
from app.protocol.presets import PRESETS
from tests.api.examples import JSON, NDJSON, make_study, timeline
from tests.documented import description
from tests.readers.refusals import CLOSED
from tests.readers.wrong_values import CANARY

_BOUNDS = (("minimum", "at_least", -1), ("exclusiveMinimum", "more_than", -1), ("maximum", "at_most", 1),
           ("exclusiveMaximum", "less_than", 1))  # fmt: skip
UNLIKE = "no such?"
"""No pattern of a parameter matches it."""


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation that has parameters."""
    paths = description()["paths"]
    return [
        (method.upper(), path, operation)
        for path, described in paths.items()
        for method, operation in described.items()
        if operation.get("parameters")
    ]


def parameters(operation: dict[str, Any], *places: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Place, name and schema of the parameters of an operation."""
    shared = description()["components"]["parameters"]
    for declared in operation["parameters"]:
        each = shared[declared["$ref"].rpartition("/")[2]] if "$ref" in declared else declared
        if each["in"] in places:
            yield each["in"], each["name"], each["schema"]


def wrong_parameters(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Wrong values for a parameter, as text, with what it accepts instead."""
    if "enum" in schema:
        yield CANARY, {"one_of": schema["enum"]}
    if schema["type"] == "boolean":
        yield CANARY, {"types": ["boolean"]}
    for keyword, name, step in _BOUNDS:
        if keyword in schema:
            yield str(int(schema[keyword]) + step), {name: schema[keyword]}
    if schema["type"] == "string" and schema.get("maxLength", 8_000) < 8_000:
        yield "x" * (schema["maxLength"] + 1), {"at_most_characters": schema["maxLength"]}
    if "pattern" in schema:
        yield UNLIKE, {"pattern": schema["pattern"]}


def send(client: Any, method: str, path: str, operation: dict[str, Any], **more: Any) -> Any:
    """Send a request whose body, if it has one, is of the right media type."""
    content = operation.get("requestBody", {}).get("content")
    headers = more.pop("headers", {}) | ({"Content-Type": next(iter(content))} if content else {})
    return client.request(method, path, content=b"{}" if content else None, headers=headers, **more)


def address(path: str, operation: dict[str, Any], **names: str) -> str:
    """The address of an operation; its path has ordinary names except these."""
    ordinary = {name: "x1" for _, name, _ in parameters(operation, "path")}
    return path.format(**(ordinary | names))


def told(answer: Any) -> dict[str, Any]:
    """What each parameter of a refusal accepts: in a problem, or in the words of an OperationOutcome."""
    document = answer.json()
    if "issue" in document:
        return {
            issue["expression"][0].removeprefix("http."): issue["details"]["text"]
            for issue in document["issue"]
            if "expression" in issue
        }
    assert [fault for fault in document["errors"] if fault["code"] in CLOSED and "accepts" not in fault] == []
    return {fault["pointer"].split("/")[2]: fault.get("accepts", {}) for fault in document["errors"]}


def agrees(found: Any, expected: dict[str, Any]) -> bool:
    """Whether what is accepted has all of what is expected; in words, whether each word of a list stands there."""
    if isinstance(found, dict):
        return expected.items() <= found.items()
    return " Accepted: " in found and all(word in found for word in expected.get("one_of", ()))


@pytest.mark.parametrize(
    ("method", "path", "operation"), operations(), ids=[f"{method} {path}" for method, path, _ in operations()]
)
def test_a_wrong_parameter_is_answered_by_what_it_accepts(client, method, path, operation):
    for place, name, schema in parameters(operation, "query", "header"):
        for value, expected in wrong_parameters(schema):
            where = {"params": {name: value}} if place == "query" else {"headers": {name: value}}
            answer = send(client, method, address(path, operation), operation, **where)
            if place == "header" and "one_of" not in expected:
                continue
            assert answer.status_code == 422, (name, value, answer.text)
            assert agrees(told(answer)[name], expected), (name, value, answer.text)
            assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "operation"), operations(), ids=[f"{method} {path}" for method, path, _ in operations()]
)
def test_an_unknown_parameter_is_answered_by_the_known_ones(client, method, path, operation):
    known = {name for _, name, _ in parameters(operation, "query")}
    answer = send(client, method, address(path, operation), operation, params={CANARY: "1"})
    assert answer.status_code == 422, answer.text
    assert CANARY not in answer.text
    if "issue" in answer.json():
        assert all(name in answer.text for name in known)
    else:
        [fault] = answer.json()["errors"]
        assert (fault["pointer"], fault["code"]) == ("/query", "unknown_parameter")
        assert set(fault.get("accepts", {"one_of": []})["one_of"]) == known


@pytest.mark.parametrize(
    ("method", "path", "operation"), operations(), ids=[f"{method} {path}" for method, path, _ in operations()]
)
def test_a_wrong_name_in_an_address_is_answered_by_its_form(client, method, path, operation):
    for _, name, schema in parameters(operation, "path"):
        for value, expected in wrong_parameters(schema):
            answer = send(client, method, address(path, operation, **{name: value}).replace("?", "%3F"), operation)
            assert answer.status_code == 422, answer.text
            assert agrees(told(answer)[name], expected), answer.text


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/studies/trial/analyses/nonsense", set(QUESTIONS)),
        ("/v1/studies/unknown/analyses/nonsense", set(QUESTIONS)),
        ("/v1/studies/trial/nonsense", {"analyses", "patients", "protocol", "revisions", "timelines"}),
        ("/v1/nonsense", {"analyses", "protocols", "studies"}),
        ("/v1/protocols/nonsense", set(PRESETS)),
        ("/v1/studies/trial/datasets/nonsense", {*NAMES, *(f"{name}.csv" for name in NAMES)}),
        ("/problems/nonsense", set(KINDS)),
    ],
)
@pytest.mark.parametrize("root", ["", "/trials"])
def test_an_unknown_name_is_answered_by_the_known_names(serve, sqlite_url, path, known, root):
    client = serve(sqlite_url, root_path=root)
    make_study(client)
    answer = client.get(path)
    assert answer.status_code == 404
    [fault] = answer.json()["errors"]
    assert (fault["pointer"], fault["code"]) == ("/path", "unknown_value")
    assert known <= set(fault["accepts"]["one_of"])
    assert not any("{" in name for name in fault["accepts"]["one_of"])
    assert "nonsense" not in answer.text


def test_every_known_analysis_is_listed_for_an_unknown_one_and_each_is_answered(client):
    home = make_study(client)
    for method in ("get", "post"):
        listed = client.request(method, f"{home}/analyses/nonsense").json()["errors"][0]["accepts"]["one_of"]
        assert listed == sorted(QUESTIONS)
    assert {client.get(f"{home}/analyses/{name}").status_code for name in listed} == {200}


def test_an_unknown_analysis_of_fhir_is_answered_by_the_known_ones(client):
    make_study(client)
    answer = client.get("/fhir/trial/MeasureReport/nonsense")
    assert answer.status_code == 404
    first, second = answer.json()["issue"]
    assert first["code"] == "not-found"
    assert second["details"]["text"].endswith(f" Accepted: {', '.join(MEASURED)}.")


@pytest.mark.parametrize("path", ["/v1/studies/nobody", "/v1/studies/trial/patients/nobody", "/nowhere", "/v1/a/b/c"])
def test_no_names_of_studies_or_patients_are_listed(client, path):
    make_study(client)
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["errors"] == []


class TestSizes:
    """A refusal for a size names the greatest one."""

    def test_a_body(self, serve, sqlite_url):
        client = serve(sqlite_url, max_body_bytes=2_000, max_stream_bytes=4_000)
        home = make_study(client)
        large = b'"' + b"x" * 2_000 + b'"'
        whole = client.post(f"{home}/timelines", content=large, headers=JSON)
        parts = client.post(f"{home}/timelines", content=iter([large]), headers=JSON)
        assert {answer.status_code for answer in (whole, parts)} == {413}
        assert {answer.json()["detail"] for answer in (whole, parts)} == {"The body may have at most 2000 bytes."}
        fhir = client.post("/fhir/trial", content=large, headers={"Content-Type": "application/fhir+json"})
        assert fhir.json()["issue"][0]["details"]["text"] == "The body may have at most 2000 bytes."

    def test_a_line_and_a_stream(self, serve, sqlite_url):
        client = serve(sqlite_url, max_body_bytes=2_000, max_stream_bytes=4_000)
        home = make_study(client)
        [line, _] = client.post(f"{home}/timelines", content=b"x" * 2_001, headers=NDJSON).text.splitlines()
        assert "A line may have at most 2000 bytes." in line
        stream = client.post(f"{home}/timelines", content=b"x" * 4_001, headers=NDJSON)
        assert (stream.status_code, stream.json()["detail"]) == (413, "The body may have at most 4000 bytes.")

    def test_an_address_and_headers(self, client):
        answer = client.get("/v1/studies", params={"cursor": "x" * 9_000})
        assert (answer.status_code, answer.json()["detail"]) == (414, "An address may have at most 8192 bytes.")
        answer = client.get("/v1/studies", headers={"X-Long": "x" * 40_000})
        assert (answer.status_code, answer.json()["detail"]) == (431, "The headers may have at most 32768 bytes.")


def test_a_wrong_instant_is_answered_by_the_form_of_an_instant(client):
    home = make_study(client)
    for written in (CANARY, "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"):
        [fault] = client.get(home + "/patients", params={"as_of": written}).json()["errors"]
        assert fault["accepts"] == {"form": "an RFC 3339 date-time with an offset from -12:00 to +14:00"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"date": CANARY}, "[eq|ne|gt|lt|ge|le|sa|eb]YYYY[-MM[-DD[Thh:mm[:ss[.sss]](Z or +hh:mm)]]]"),
        ({"status": CANARY}, "preliminary, final, amended, corrected, entered-in-error, cancelled, on-hold, "
                             "registered, stopped, unknown"),
        ({"code": ",".join("x" * 51)}, "at most 50 items"),
        ({"_count": "-1"}, "at least 0"),
        ({"_total": CANARY}, "none, estimate, accurate"),
        ({CANARY: "1"}, "_count, _cursor, _elements, _format, _id, _lastUpdated, _pretty, _sort, _summary, _total, "
                        "_totalMethod, category, code, date, identifier"),
    ],
)  # fmt: skip
def test_a_search_is_answered_by_what_its_parameters_accept(client, given, words):
    make_study(client)
    for answer in (
        client.get("/fhir/trial/Observation", params=given),
        client.post("/fhir/trial/Observation/_search", data=given),
    ):
        assert answer.status_code == 422, answer.text
        [issue] = answer.json()["issue"]
        assert f" Accepted: {words}" in issue["details"]["text"]
        assert CANARY not in answer.text


def test_faults_of_an_item_say_what_is_accepted_in_every_way_of_sending_it(client):
    home = make_study(client)
    wrong = timeline("P01")
    wrong["labs"][0]["status"] = CANARY
    one = client.put(f"{home}/patients/P01", json=wrong).json()["errors"]
    array = client.post(f"{home}/timelines", json=[wrong]).json()["items"][0]["problem"]["errors"]
    atomic = client.post(f"{home}/timelines?atomic=true", json=[wrong]).json()["errors"]
    unstored = client.post("/v1/analyses", json={"protocol": "seed-2008", "timelines": [wrong]}).json()["errors"]
    expected = ["preliminary", "final", "amended", "corrected", "entered-in-error", "cancelled"]
    assert [[fault["accepts"] for fault in faults] for faults in (one, array, atomic, unstored)] == [
        [{"one_of": expected}]
    ] * 4
