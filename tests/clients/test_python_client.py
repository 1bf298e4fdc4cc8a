"""A Python client that openapi-python-client generates."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.clients.conftest import DIRECT
from tests.clients.installing import HERE, install
from tests.clients.readme import KEPT, document, examples
from tests.journeys.test_wheel import installer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the generator, whose packages are not those of the service."""
    if shutil.which("perl") is None:
        pytest.skip("There is no perl, which mends two files of the generated client.")
    folder = tmp_path_factory.mktemp("generator")
    venv.create(folder)
    lock = HERE / "requirements.lock"
    install(
        [*installer(folder), "-q", "--require-hashes", "-r", lock],
        folder,
        wrong=("HASH", "Hash mismatch", "must have a hash"),
    )
    return folder / "bin"


@pytest.fixture(scope="module")
def generated(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The client, and what the generator printed."""
    folder = tmp_path_factory.mktemp("generated")
    client, description = folder / "client", folder / "openapi.json"
    description.write_text(json.dumps(document()), encoding="utf-8")  # the generator takes long to read YAML
    told = subprocess.run(
        [
            *(environment / "openapi-python-client", "generate", "--path", description),
            *("--config", HERE / "openapi-python-client.yaml", "--output-path", client),
        ],
        env=os.environ | {"PATH": f"{environment}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return client, told.stdout + told.stderr


def test_every_operation_is_generated_without_a_warning(generated):
    client, printed = generated
    assert re.search("warn|skip|unsupported", printed, re.IGNORECASE) is None, printed
    operations = [operation["operationId"] for item in document()["paths"].values() for operation in item.values()]
    modules = [
        module
        for module in client.glob("*/api/*/*.py")
        if any(getattr(each, "name", "") == "sync_detailed" for each in ast.parse(module.read_text()).body)
    ]
    assert len(modules) == len(operations) > 100
    assert {module.stem.replace("_", "") for module in modules} == {name.lower() for name in operations}


def test_the_client_is_typed(environment, generated):
    client, _ = generated
    usage = client / "usage.py"
    usage.write_text(USAGE)
    told = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull),
            *("--python-executable", environment / "python", "."),
        ],
        cwd=client, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wrong = usage.read_text().splitlines().index("wrong: int = answer.study") + 1
    found = [line for line in told.stdout.splitlines() if "error:" in line]
    assert [line.split(" error:")[0] for line in found] == [f"usage.py:{wrong}:"], told.stdout


def test_every_example_of_the_readme_is_answered_to_the_client(environment, generated, server, study):
    study("demo-py")
    client, _ = generated
    modules = {
        module.stem.replace("_", ""): ".".join(module.relative_to(client).with_suffix("").parts)
        for module in client.glob("*/api/*/*.py")
    }
    calls = [(modules[each.operation.lower()], each.parameters, each.media_type, each.body) for each in examples("-py")]
    ran = subprocess.run(
        [environment / "python", "-c", CALLS, f"http://127.0.0.1:{server.port}"],
        cwd=client, env=DIRECT, input=json.dumps(calls), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(answers) == len(calls)
    for call, (status, parsed, received) in zip(calls, answers, strict=True):
        assert status in {200, 201}, call
        assert parsed == (json.loads(received) if isinstance(parsed, dict) else received), call
    kept = json.loads(server.ask("GET", "/v1/studies/ward8-py/patients/P01")[1])["labs"]
    assert [(lab["id"], lab["value"], lab["upper_limit"]) for lab in kept] == KEPT


CALLS = """
import json, sys, typing
from importlib import import_module
from io import BytesIO

from myo_response_client import Client
from myo_response_client.types import File

client = Client(sys.argv[1])
for module, parameters, media_type, body in json.load(sys.stdin):
    operation = import_module(module).sync_detailed
    given = {}
    if body is not None and media_type.endswith("json"):
        kinds = typing.get_type_hints(operation)["body"]
        kind, *_ = [each for each in (kinds, *typing.get_args(kinds)) if hasattr(each, "from_dict")]
        given["body"] = kind.from_dict(json.loads(body))
    elif body is not None:
        given["body"] = File(BytesIO(body.encode()))
    answer = operation(**parameters, client=client, **given)
    parsed = answer.parsed
    shown = parsed.payload.read().decode() if isinstance(parsed, File) else parsed.to_dict()
    print(json.dumps([int(answer.status_code), shown, answer.content.decode()]))
"""
USAGE = """
from io import BytesIO

from myo_response_client import Client
from myo_response_client.api.analyses import get_response_rates
from myo_response_client.api.patients import post_events, post_labs, post_timelines
from myo_response_client.models.lab_result import LabResult
from myo_response_client.models.patient import Patient
from myo_response_client.models.problem import Problem
from myo_response_client.models.timeline import Timeline
from myo_response_client.types import File

client = Client("http://127.0.0.1:8000")
answer = get_response_rates.sync("demo", client=client, by="sex")
assert answer is not None and not isinstance(answer, Problem)
first: float | None = answer.results[0].rate
timeline = Timeline(
    patient=Patient(id="P01"),
    labs=[LabResult(code="CK", time="2006-09-04T09:00:00+09:00", value=152, unit="U/L", upper_limit=163)],
)
post_events.sync("demo", "P01", client=client, body=timeline)
post_timelines.sync("demo", client=client, body=[timeline])
post_labs.sync("demo", client=client, body=File(BytesIO(b"patient,code")), decimal=",")
wrong: int = answer.study
"""
