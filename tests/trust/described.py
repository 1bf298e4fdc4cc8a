"""schemathesis makes requests from the description of the API, valid and invalid ones, and checks each answer: its
status, media type, headers and schema are the described ones, no status is 5xx, what breaks the schema is refused, and
what needs a key is refused without one. The service has the demonstration study; it is asked without keys, as on
loopback, and then with a key of all scopes and with a key of each scope. schemathesis has an environment of its own
(`make fuzz`). `schemathesis.toml` names the checks that are off, with their reasons.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.access.callers import Scope
from app.access.operations import OPEN
from tests.api.test_server import Process, environment, running, with_demo
from tests.trust.figures import Figure, NotHere
from tests.trust.ground import folder
from tests.trust.opened import migrated

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".venv-fuzz" / "bin" / "st"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SEED = 12
FEW = "/v1/(protocols|planning)"
"""The operations that the fast version asks."""
EXAMPLES = 5
"""Examples drawn for each operation, of the valid and of the invalid requests."""
ALL = ("--phases", "examples,fuzzing,stateful")
LIMITS = ("--phases", "coverage", "--exclude-path-regex")
"""Values at and beyond the limits of each parameter: some 300 requests for each operation."""
FHIR, OTHERS = "^/(?!fhir/)", "^/fhir/|/analyses/(?!response-rates)|/changes/stream"
"""The addresses that are left out where limits are asked with a key, and without one."""


@dataclass(slots=True)
class Found:
    """What one run or several runs of schemathesis did."""

    operations: set[str] = field(default_factory=set)
    requests: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def run(full: bool) -> list[Figure]:
    """Without keys, with a key of all scopes, and shortly with one of each scope; or a few operations for seconds.

    Each parameter of a question is at its limits in one of the questions, not in all: they are the same ones. Each
    other operation is at its limits once, because that takes longest: FHIR with a key, the rest without.
    """
    if not PROGRAM.exists():
        raise NotHere("schemathesis is not installed; `make fuzz` installs it in an environment of its own")
    found = Found()
    drawn = ("--phases", "fuzzing")
    few = [(*drawn, "-n", "1", "--include-path-regex", FEW)]
    with folder() as place:
        url = filled(place)
        with running(url, RATE="") as service:
            for options in _asked(OTHERS) if full else few:
                ask(service, found, place, None, *options)
        with running(url, RATE="", REQUIRE_KEYS="true") as service:
            for options in _asked(FHIR) if full else few:
                ask(service, found, place, key(url, tuple(Scope)), *options)
            for scope in Scope if full else ():
                ask(service, found, place, key(url, (scope,)), *drawn, "-n", "3")
    assert not found.failures, "\n".join(found.failures)
    return [
        Figure("P22", "operations of the description that were asked", f"{len(found.operations):,}"),
        Figure("P22", "requests made from it, valid and invalid", f"{found.requests:,}"),
        Figure("P22", "checks of answers", f"{found.checks.total():,}, {len(found.checks)} kinds"),
        Figure("P22", "answers with 5xx, and undocumented ones", "0, 0"),
    ]


def _asked(left_out: str) -> list[tuple[str, ...]]:
    """The options of the two runs that ask every operation, and those that are not left out for their limits."""
    return [(*ALL, "-n", str(EXAMPLES)), (*LIMITS, left_out)]


def filled(place: Path) -> str:
    """A database with the demonstration study, twice: its URL."""
    url = migrated(place)
    with_demo(url)
    timelines = json.loads((ROOT / "app" / "demo" / "timelines.json").read_text(encoding="utf-8"))
    with running(url) as service:
        service.ask("PUT", "/v1/studies/second", {"name": "Second", "protocol": "seed-2008"})
        assert service.ask("POST", "/v1/studies/second/timelines", timelines)[0] == 200
    return url


def key(url: str, scopes: tuple[Scope, ...]) -> str:
    """A new key."""
    options = [word for scope in scopes for word in ("--scope", scope)]
    command = [sys.executable, "-m", "app", "keys", "create", "--name", "asks", *options]
    made = subprocess.run(command, cwd=ROOT, env=environment(url), check=True, capture_output=True, text=True)
    return re.search(r"myo_\w+", made.stdout)[0]


def ask(service: Process, found: Found, place: Path, credential: str | None, *options: str) -> None:
    """Run schemathesis once. With a key, the description says that the key is needed: then what is asked without it, or
    with a wrong one, has to be refused.
    """
    document = json.loads(service.ask("GET", "/openapi.json")[1])
    for item in document["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if content["schema"].get("format") == "binary":
                    content["schema"].pop("examples", None)  # the hooks have bytes; schemathesis takes no text for them
            for answer in operation["responses"].values():
                if lines := answer.get("content", {}).get("application/x-ndjson"):
                    lines["schema"] = {"type": "array", "items": lines["schema"]}  # the schema is that of each line
                if events := answer.get("content", {}).get("text/event-stream"):
                    events["schema"] = {}  # it is that of the data of each event, which schemathesis does not read
    if credential is not None:
        document["security"] = [{"bearer": []}]
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if f"{method.upper()} {path}" in OPEN:
                    operation["security"] = []
    description, report = place / "described.json", place / "report.ndjson"
    description.write_text(json.dumps(document))
    # Who has no key is told 401, also where an address has no such method: the first run asks for that. The key is in
    # every request, also in one that is to be without it; `ignored_auth` asks truly without it.
    excluded = "unsupported_method,missing_required_header"
    keyed = ["-H", f"Authorization: Bearer {credential}", "--exclude-checks", excluded]
    headers = [] if credential is None else keyed
    told = subprocess.run(
        [
            *(PROGRAM, "--config-file", CONFIGURATION, "run", description, "--url", f"http://127.0.0.1:{service.port}"),
            *("--seed", str(SEED), "--request-timeout", "60", "--report-ndjson-path", report, "--no-color"),
            *headers,
            *options,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    read(report, found)
    if told.returncode and not found.failures:
        found.failures.append(told.stdout[-5_000:] + told.stderr)


def read(report: Path, found: Found) -> None:
    """Count what a report holds. A failure is told with the operation, the check and what was sent."""
    for event in _events(report):
        if "NonFatalError" in event:
            error = event["NonFatalError"]
            found.failures.append(f"{error['label']}: {error['value']}")
        recorder = event.get("ScenarioFinished", {}).get("recorder", {})
        if recorder.get("cases"):
            found.operations.add(recorder["label"])
        found.requests += len(recorder.get("interactions", {}))
        for case, checks in recorder.get("checks", {}).items():
            for check in checks:
                found.checks[check["name"]] += 1
                if "failure_info" in check:
                    failure = check["failure_info"]["failure"]
                    address = recorder["interactions"].get(case, {}).get("request", {}).get("uri")
                    told = f"{check['name']}: {failure['title']}: {failure['message']}"
                    found.failures.append(f"{recorder['label']}: {told[:400]}: {str(address)[:400]}")


def _events(report: Path) -> Iterator[dict[str, Any]]:
    """The events of a report, which may have hundreds of megabytes."""
    with report.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
