"""Each example of docs/examples.md is run as it is printed, but for the address and the name of the study."""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_server import Process
from tests.clients.conftest import DIRECT
from tests.clients.installing import ROOT, compiled

PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
LANGUAGES = ("sh", "python", "r", "ts")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = {
    title: dict(BLOCK.findall(text))
    for title, _, text in (part.partition("\n") for part in PAGE.split("\n## ")[1:])
    if "```text" in text
}
SENDS, DRAWS, ASKS = SECTIONS


def lines(answer: Any, title: str) -> list[str]:
    """What the other examples print, of the answer that curl prints."""
    if title == SENDS:
        return [f"{answer['status']} {answer['revision']}"]
    [first, *_] = results = answer["results"]
    if title == DRAWS:
        return [f"{row['time']} {row['at_risk']} {row['survival']}" for row in first["curve"]]
    return [
        f"{rule['measure']} {rule['responders']} {rule['evaluable']} {rule['rate']}"
        for rule in results
        if rule["primary"]
    ]


def example(title: str, language: str, server: Process) -> str:
    """An example for the server and the study of a test."""
    text = SECTIONS[title][language].replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    return re.sub(r"\bdemo\b", study_of(title, language), text)


def study_of(title: str, language: str) -> str:
    return f"{title.rsplit(maxsplit=1)[-1]}-{language}"


@pytest.fixture(scope="module")
def programs(packages: Path, server: Process) -> Path:
    """The folder with the programs that the compiler made of the examples in TypeScript."""
    texts = {study_of(title, "ts"): example(title, "ts", server) for title in SECTIONS}
    assert compiled(packages, emit=True, **texts) == ""
    return packages


def command(language: str, text: str, folder: Path) -> list[str | Path]:
    """The command that runs an example. A test is skipped where something that it needs is not installed."""
    if language == "python":
        return [sys.executable, "-W", "error", "-c", text]
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if language == "sh":
        return ["bash", "-c", text]
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed")
    if not has_jsonlite():
        pytest.skip("R has no jsonlite")
    (folder / "example.R").write_text(text, encoding="utf-8")
    return ["Rscript", folder / "example.R"]


@cache
def has_jsonlite() -> bool:
    """Whether R has the package: asked once, as R needs long to start."""
    asked = subprocess.run(["Rscript", "-e", "library(jsonlite)"], capture_output=True, check=False)
    return asked.returncode == 0


def test_each_user_has_an_example_in_each_language():
    assert len(SECTIONS) == 3
    assert all(set(blocks) == {*LANGUAGES, "text"} for blocks in SECTIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_prints_what_stands_below_it(server, study, request, tmp_path, title, language):
    name = study(study_of(title, language))
    if language == "ts":
        words = ["node", request.getfixturevalue("programs") / f"{name}.js"]
    else:
        words = command(language, example(title, language, server), tmp_path)
    ran = subprocess.run(words, env=DIRECT, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    printed = lines(json.loads(ran.stdout), title) if language == "sh" else ran.stdout.splitlines()
    expected = SECTIONS[title]["text"].splitlines()
    assert [normal(line) for line in printed] == [normal(line) for line in expected]
    if title == SENDS:
        timeline = json.loads(server.ask("GET", f"/v1/studies/{name}/patients/P01")[1])
        [lab] = [lab for lab in timeline["labs"] if lab.get("id") == "4711"]
        sent = {"code": "CK", "time": "2006-09-04T09:00:00+09:00", "value": 152, "unit": "U/L", "upper_limit": 163}
        assert {field: lab[field] for field in sent} == sent


def normal(line: str) -> list[str | float]:
    """The words of a line. 41 and 41.0 are the same number."""
    return [float(word) if re.fullmatch(r"[\d.]+", word) else word for word in line.split()]
