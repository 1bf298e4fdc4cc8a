"""The README says what the service does."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from app.api.home import first_steps
from app.settings import Settings
from tests.journeys.conftest import load_demo, service

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCK = re.search(r"```console\n(\$ curl http.*?)```", README, re.DOTALL)[1]
EXAMPLES = [part.split("\n", 1) for part in BLOCK.split("$ ") if part]


@pytest.fixture
def fresh_demo(tmp_path):
    with service(f"sqlite:///{tmp_path / 'demo.db'}") as client:
        load_demo(client)
        yield client


def curl(client, command):
    words = shlex.split(command)
    url, rest = words[1], words[2:]
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    headers = dict([options["-H"].split(": ", 1)]) if "-H" in options else {}
    method = "POST" if "-d" in options else "GET"
    return client.request(method, url, headers=headers, content=options.get("-d"))


def test_the_three_lines_print_what_the_readme_says(fresh_demo):
    assert len(EXAMPLES) == 3
    for command, printed in EXAMPLES:
        answer = curl(fresh_demo, command)
        assert answer.status_code == 200, answer.text
        given = iter(answer.text.splitlines())
        for line in printed.rstrip("\n").splitlines():
            if line.strip() != "...":
                assert line in given, f"{line!r} does not follow in the answer of {command}"


def test_three_commands_lead_from_nothing_to_an_answer(tmp_path):
    """The shell runs them as they are printed, with a `curl` that prints its arguments."""
    block = re.search(r"## For the integration engineer.*?```console\n(.*?)```", README, re.DOTALL)[1]
    parts = [
        re.split(r"^\{$", part, maxsplit=1, flags=re.MULTILINE)
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    assert len(parts) == 3
    with service(f"sqlite:///{tmp_path / 'x.db'}") as client:
        for command, *printed in parts:
            script = "curl() { printf '%s\\0' \"$@\"; }\n" + command
            words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split(
                "\0"
            )[:-1]
            [url] = [word for word in words if word.startswith("localhost")]
            body = words[words.index("-d") + 1] if "-d" in words else None
            method = words[words.index("-X") + 1] if "-X" in words else "GET"
            headers = {"content-type": "application/json"} if body else {}
            answer = client.request(method, f"http://{url}", headers=headers, content=body)
            assert answer.status_code in {200, 201}, answer.text
            given = iter(answer.text.splitlines())
            for line in "".join(printed).rstrip("\n").splitlines():
                if line.strip() not in {"", "..."}:
                    assert line in given, f"{line!r} does not follow in the answer of {command}"
        results = answer.json()["results"]
    assert {(each["measure"], each["rate"], each["reason"]) for each in results} == {
        ("CK", 1, None), ("MMT", 1, None), ("ADL", 1, None)}  # fmt: skip


def test_the_lines_for_feeds_store_one_result_each(fresh_demo):
    """The shell runs the lines as they are printed, with a `curl` that prints its arguments."""
    block = re.search(r"### Feeds.*?```console\n(.*?)```", README, re.DOTALL)[1]
    script = "curl() { printf '%s\\0' \"$@\"; printf '\\n\\0'; }\n" + re.sub(
        r"^\$ curl", "curl", block, flags=re.MULTILINE
    )
    output = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    for words in (line.split("\0") for line in output.split("\0\n\0") if line):
        [url] = [word for word in words if word.startswith("localhost")]
        media_type = words[words.index("-H") + 1].removeprefix("content-type: ")
        answer = fresh_demo.request(
            words[words.index("-X") + 1], f"http://{url}", headers={"content-type": media_type}, content=words[-1]
        )
        assert answer.status_code in {200, 201}, answer.text
    kept = fresh_demo.get("/v1/studies/ward8/patients/P01").json()["labs"]
    assert [(lab["id"], lab["value"], lab["time"], lab["upper_limit"]) for lab in kept] == [
        ("77", 1101, "2005-03-16T09:48:00+09:00", 163),
        ("78", 1005, "2005-03-23T11:33:00+09:00", 163),
        ("79", 988, "2005-04-10T10:22:00+09:00", 163),
    ]


def test_the_service_prints_the_lines_of_the_readme():
    printed = "".join(f"  {command}\n" for _, command in first_steps("http://127.0.0.1:8000"))
    assert [command.strip() for command, _ in EXAMPLES] == [
        line.strip() for line in printed.splitlines() if "curl" in line
    ]


def test_every_setting_is_in_the_readme():
    missing = [name for name in Settings.model_fields if f"`MYORESPONSE_{name.upper()}`" not in README]
    assert missing == []


def test_every_command_is_in_the_readme():
    for command in ("serve", "migrate", "demo", "openapi", "import", "export", "mllp", "dead-letters"):
        assert f"`{command}`" in README
