"""TypeScript types that openapi-typescript generates, and every JSON example of the README as a typed call."""

import json
import re
import subprocess

import pytest

from tests.clients.conftest import DIRECT
from tests.clients.installing import HERE, compiled
from tests.clients.readme import KEPT, README, examples
from tests.journeys.conftest import load_demo, service

BEGIN = """import createClient from "openapi-fetch"
import type { paths } from "./api.js"

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8000" })
"""
WRONG = [
    ('await client.GET("/v1/studies/{study}/nothing", { params: { path: { study: "demo" } } })', "nothing"),
    ('await client.GET("/v1/studies/{study}", { params: { path: { studies: "demo" } } })', "studies"),
    (
        'await client.POST("/v1/studies/{study}/patients/{patient}/events", '
        '{ params: { path: { study: "demo", patient: "P01" } }, body: { patient: { id: "P01", sex: "woman" } } })',
        "woman",
    ),
    (
        'await client.PUT("/v1/studies/{study}", '
        '{ params: { path: { study: "demo" } }, body: { name: "Ward", protocol: "seed-2007" } })',
        "seed-2007",
    ),
    (
        'const { data } = await client.GET("/v1/studies/{study}/analyses/response-rates", '
        '{ params: { path: { study: "demo" }, query: { by: "sex" } } })\n'
        'if (typeof data !== "object") throw new Error()\n'
        "export const rate: string = data.results[0]!.rate",
        "Type 'number | null' is not assignable to type 'string'",
    ),
]  # fmt: skip
"""Calls that are wrong, and what the compiler names."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Every example of the README as TypeScript: the call, and its answer as a value of its type."""
    lines = []
    with service(f"sqlite:///{tmp_path_factory.mktemp('readme') / 'demo.db'}") as client:
        load_demo(client)
        for number, each in enumerate(examples()):
            headers = {} if each.media_type is None else {"content-type": each.media_type}
            answer = client.request(each.method, f"http://{each.address}", headers=headers, content=each.body)
            assert answer.status_code in {200, 201}, answer.text
            lines.append(each.call)
            media_type = answer.headers["content-type"].partition(";")[0]
            kind = f'paths["{each.template}"]["{each.method.lower()}"]["responses"][{answer.status_code}]'
            value = answer.text if media_type.endswith("json") else json.dumps(answer.text)
            lines.append(f'export const answer{number}: {kind}["content"]["{media_type}"] = {value}')
    return lines


def test_the_lock_holds_hashes_and_no_addresses():
    text = (HERE / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == wanted
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert "://" not in (HERE / "requirements.lock").read_text()


def test_the_examples_of_the_readme_are_found():
    found = list(examples())
    assert len(found) == README.count("$ curl ")
    assert [each.media_type for each in found].count("application/json") == 4
    for each in found:
        if each.media_type is not None and each.media_type.endswith("json"):
            json.loads(each.body)


@pytest.mark.slow
def test_every_example_of_the_readme_is_a_typed_call_with_a_typed_answer(packages, answers):
    assert compiled(packages, whole=True, readme=BEGIN + "\n".join(answers)) == ""


@pytest.mark.slow
def test_every_example_of_the_readme_is_answered_to_the_client(packages, server, study):
    study("demo-ts")
    calls = [f"console.log(({each.call}).response.status)" for each in examples("-ts")]
    program = BEGIN.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}") + "\n".join(calls)
    assert compiled(packages, emit=True, calls=program) == ""
    ran = subprocess.run(["node", packages / "calls.js"], env=DIRECT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout.split()) == len(calls)
    assert set(ran.stdout.split()) <= {"200", "201"}
    kept = json.loads(server.ask("GET", "/v1/studies/ward8-ts/patients/P01")[1])["labs"]
    assert [(lab["id"], lab["value"], lab["upper_limit"]) for lab in kept] == KEPT


@pytest.fixture(scope="module")
def refused(packages) -> str:
    """What the compiler says of all wrong calls, each a program of its own."""
    return compiled(packages, **{f"wrong{number}": BEGIN + call for number, (call, _) in enumerate(WRONG)})


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG)))
def test_a_wrong_call_is_an_error_of_the_compiler(refused, number):
    [said] = re.findall(rf"^wrong{number}\.ts.*error TS.*(?:\n .*)*", refused, re.MULTILINE)
    assert WRONG[number][1] in said
