"""Every command of the README that asks the service, as a call of a client."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from tests.clients.installing import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@cache
def document() -> dict[str, Any]:
    """The description of the API, as it is in its file."""
    return yaml.load((ROOT / "openapi.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)


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
        return next(each for each in document()["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path))

    @property
    def operation(self) -> str:
        """The name of its operation."""
        return document()["paths"][self.template][self.method.lower()]["operationId"]

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of its path."""
        names = re.findall(r"\{(\w+)\}", self.template)
        values = re.fullmatch(re.sub(r"\{\w+\}", "([^/]+)", self.template), "/" + self.address.partition("/")[2])
        return dict(zip(names, values.groups(), strict=True))

    @property
    def call(self) -> str:
        """The same as a typed call."""
        init = [f"params: {{ path: {json.dumps(self.parameters)} }}"]
        if self.body is not None:
            is_json = self.media_type.endswith("json")
            init.append(f"body: {self.body if is_json else json.dumps(self.body)}")
            init += [] if is_json else ["bodySerializer: (text) => text", 'parseAs: "text"']
            init.append(f'headers: {{ "content-type": "{self.media_type}" }}')
        return f'await client.{self.method}("{self.template}", {{ {", ".join(init)} }})'


def examples(suffix: str = "") -> Iterator[Example]:
    """Every command of the README, read by the shell as it is printed; each study has a suffix to its name."""
    printed = [part for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for part in block.split("\n$ ")]
    commands = [re.split(r"^\{$", part.removeprefix("$ "), flags=re.MULTILINE)[0] for part in printed]
    script = "curl() { printf '%s\\0' \"$@\"; printf '\\n\\0'; }\n" + "\n".join(
        command for command in commands if command.startswith("curl ")
    )
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    for words in (line.split("\0") for line in told.split("\0\n\0") if line):
        found = example(words)
        yield replace(found, address=re.sub(r"/(demo|ward7|ward8)\b", rf"/\1{suffix}", found.address))


def example(words: list[str]) -> Example:
    """A command by its words."""
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


KEPT = [("77", 1101, 163), ("78", 1005, 163), ("79", 988, 163)]
"""Number, value and upper limit of the results that the README sends to Ward 8: by FHIR, HL7 v2 and CSV."""
