"""TypeScript types that openapi-typescript generates, and every JSON example of the README as a typed call."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest
import yaml

from tests.clients.installing import HERE, ROOT, compiled
from tests.journeys.conftest import load_demo, service

README = (ROOT / "README.md").read_text(encoding="utf-8")
BEGIN = """import createClient from "openapi-fetch"
import type { paths } from "./api.js"

const client = createClient<paths>({ baseUrl: "http://127.0.0.1:8000" })
"""


@cache
def templates() -> list[str]:
    """Every path of the description."""
    return list(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))["paths"])


@dataclass(frozen=True)
class Example:
    """One command of the README."""

    method: str
    address: str
    media_type: str | None
    body: str | None

    @property
    def template(self) -> str:
        """Its path as the description has it."""
        path = "/" + self.address.partition("/")[2]
        return next(each for each in templates() if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path))

    @property
    def call(self) -> str:
        """The same as a typed call."""
        names = re.findall(r"\{(\w+)\}", self.template)
        values = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", self.template), "/" + self.address.partition("/")[2])
        init = [f"params: {{ path: {json.dumps(dict(zip(names, values.groups(), strict=True)))} }}"]
        if self.body is not None:
            is_json = self.media_type.endswith("json")
            init.append(f"body: {self.body if is_json else json.dumps(self.body)}")
            init += [] if is_json else ["bodySerializer: (text) => text"]
            init.append(f'headers: {{ "content-type": "{self.media_type}" }}')
        return f'await client.{self.method}("{self.template}", {{ {", ".join(init)} }})'


def examples() -> Iterator[Example]:
    """Every command of the README, read by the shell as it is printed."""
    printed = [part for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for part in block.split("\n$ ")]
    commands = [re.split(r"^\{$", part.removeprefix("$ "), flags=re.MULTILINE)[0] for part in printed]
    script = "curl() { printf '%s\\0' \"$@\"; printf '\\n\\0'; }\n" + "\n".join(
        command for command in commands if command.startswith("curl ")
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    for words in (line.split("\0") for line in told.split("\0\n\0") if line):
        yield example(words)


def example(words: list[str]) -> Example:
    given = {name: words[place + 1] for place, name in enumerate(words) if name.startswith("-")}
    body = given.get("-d", given.get("--data-binary"))
    (address,) = (
        word.removeprefix("http://") for word in words if re.match(r"(http://)?(localhost|127\.0\.0\.1)", word)
    )
    return Example(
        given.get("-X", "GET" if body is None else "POST"),
        address,
        given["-H"].partition(": ")[2] if "-H" in given else None,
        body,
    )


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
    assert compiled(packages, readme=BEGIN + "\n".join(answers)) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "because"),
    [
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
    ],
)  # fmt: skip
def test_a_wrong_call_is_an_error_of_the_compiler(packages, wrong, because):
    said = compiled(packages, readme=BEGIN + wrong)
    assert said.count("error TS") == 1, said
    assert because in said
