"""The R script of each question, run by R against a running service: it prints the figures of the answer."""

import json
import os
import shutil
import subprocess
import urllib.request
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.analyses import SCRIPTED
from app.datasets import r_scripts
from app.demo.simulation import Design, lines
from tests.api.examples import FIRST, NDJSON, codes, fill, make_study, timeline
from tests.api.test_server import running, with_demo
from tests.repetition import repeats

R = shutil.which("Rscript")
OPTIONS = {"ck-normal-groups": "by=diagnosis"}
ENZYMES = {"CK": 200, "ALDOLASE": 8, "LDH": 250, "AST": 40, "ALT": 40}


def step(found: Any, part: str) -> Any:
    """One step of a place: a field, an index, or the one entry whose fields have these values."""
    if not isinstance(found, list):
        return found[part]
    if part.isdecimal():
        return found[int(part)]
    wanted = [each.split("=", 1) for each in part.split(",")]
    [entry] = [
        each
        for each in found
        if all(str(reduce(lambda inner, key: inner[key], name.split("."), each)) == value for name, value in wanted)
        or all(isinstance(each.get(name), float) and f"{each[name]:.12g}" == value for name, value in wanted)
    ]
    return entry


def core_set_timelines(count: int, seed: int = 3):
    """Patients with all core set measures at week 0, 4 and 16, now and then without one."""
    random = np.random.default_rng(seed)
    largest = {"PHYSICIAN_GLOBAL": 10, "PATIENT_GLOBAL": 10, "EXTRAMUSCULAR": 10, "MMT8": 150, "HAQ": 3}
    for number in range(count):
        labs, assessments = [], []
        for week, share in ((0, 1.0), (4, 0.8), (16, 0.5)):
            day = str(FIRST.fromordinal(FIRST.toordinal() + 7 * week))
            for code, limit in ENZYMES.items():
                if random.random() < 0.9:
                    value = round(limit * random.uniform(0.5, 8) * share, 1)
                    labs.append({"code": code, "time": day, "value": value, "unit": "U/L", "upper_limit": limit})
            for code, most in largest.items():
                if random.random() < 0.95:
                    part = random.uniform(0.2, 0.9) * share
                    score = most * (1 - part / 2) if code == "MMT8" else most * part
                    kept = round(score / 0.125) * 0.125 if code == "HAQ" else round(score, 0 if code == "MMT8" else 1)
                    assessments.append({"code": code, "time": day, "score": kept})
        yield timeline(f"T{number:02}", labs=labs, assessments=assessments)


def ask(server, method: str, path: str, body: bytes | None = None, media_type: str = "application/json"):
    """A request; the status and the answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", body, {"Content-Type": media_type})
    request.method = method
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return answer.status, answer.read()


ALL = """
for (file in commandArgs(TRUE)) {
  sink(paste0(file, ".txt"))
  source(file, local = new.env(), print.eval = TRUE)
  sink()
}
"""
"""Runs each file as if it were alone, with one start of R and of its packages."""


def printed_by_r(server, folder: Path, asked: list[tuple[str, str]]) -> list[dict[str, str]]:
    """What the script of each study and query prints, by place."""
    files = [folder / f"{number}.R" for number in range(len(asked))]
    base = f"http://127.0.0.1:{server.port}"
    for file, (path, query) in zip(files, asked, strict=True):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{base}{path}?code=R&{query}", timeout=60
        ) as answer:
            assert answer.headers.get_content_type() == "text/x-r"
            file.write_bytes(answer.read())
    known = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    ran = subprocess.run(
        [R, "-", *files], input=ALL.encode(), capture_output=True, check=False,
        env=known | {"MYORESPONSE_URL": base, "no_proxy": "*"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    return [dict(line.split() for line in Path(f"{file}.txt").read_text().splitlines()) for file in files]


def study_without_groups(question: str, answer: Any) -> bool:
    return question == "ck-normal-groups" and all(len(each["groups"]) < 2 for each in answer["results"])


def differences(server, folder: Path, question: str, asked: list[tuple[str, str]]) -> list[str]:
    """Where R and the answer differ, for each study and query."""
    asked = [
        (f"/v1/studies/{study}/analyses/{question}", "&".join(filter(None, [OPTIONS.get(question), query])))
        for study, query in asked
    ]
    found = []
    for printed, (path, query) in zip(printed_by_r(server, folder, asked), asked, strict=True):
        answer = json.loads(ask(server, "GET", f"{path}?{query}")[1])
        assert printed or study_without_groups(question, answer), path
        for place, value in printed.items():
            expected = reduce(step, place.strip("/").split("/"), answer)
            if value != ("null" if expected is None else f"{expected:.8g}"):
                found.append(f"{path}?{query} {place}: R {value}, the answer {expected}")
    return found


@pytest.fixture(scope="module")
def server(migrated_file, tmp_path_factory):
    """The demonstration, simulated patients (60; 1; none), patients with core set measures (25; 60), and simulated ones
    whose enzyme is their only core set measure, so that every score has bounds.
    """
    url = f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('r') / 'r.db')}"
    with_demo(url)
    with running(url) as process:
        for study, patients, protocol in (
            ("many", [json.loads(line) for line in lines(Design(60, seed=4))], "seed-2008"),
            ("one", [json.loads(line) for line in lines(Design(1))], "seed-2008"),
            ("none", [], "seed-2008"),
            ("scores", list(core_set_timelines(25)), "acr-eular-2016-adult"),
            ("more-scores", list(core_set_timelines(60, seed=8)), "acr-eular-2016-adult"),
            ("bounds", [json.loads(line) for line in lines(Design(30, seed=5))], "acr-eular-2016-adult"),
        ):
            declared = json.dumps({"name": study, "protocol": protocol}).encode()
            made = ask(process, "PUT", f"/v1/studies/{study}", declared)
            assert made[0] == 201, made
            if patients:
                body = "\n".join(map(json.dumps, patients)).encode()
                sent = ask(process, "POST", f"/v1/studies/{study}/timelines", body, NDJSON["Content-Type"])
                assert sent[0] == 200, sent
        yield process


STUDIES = [("demo", ""), ("many", ""), ("one", ""), ("none", "")]
SCORED = [("scores", ""), ("more-scores", ""), ("bounds", "")]
OTHER_LEVEL_AND_REVISION = [("demo", "level=0.9&revision=9")]


@pytest.mark.slow
@pytest.mark.skipif(R is None, reason="Rscript is not installed")
@pytest.mark.parametrize("question", SCRIPTED)
def test_r_prints_the_figures_of_the_answer_to_each_study(server, tmp_path, question):
    asked = SCORED if question == "improvement-score" else STUDIES
    asked = asked[: max(2, repeats(len(asked)))]
    asked = asked + OTHER_LEVEL_AND_REVISION if question == "ck-normal-time" else asked
    assert differences(server, tmp_path, question, asked) == []


def test_every_question_of_the_report_has_a_script():
    from app.analyses import REPORTED

    assert {question.name for question in REPORTED} <= set(SCRIPTED)
    assert {file.stem for file in r_scripts._CODE.glob("*.R")} == {"begin", *SCRIPTED}


def test_a_script_names_its_revision_and_holds_no_value_of_a_patient(client):
    home = fill(client, 2)
    answer = client.get(f"{home}/analyses/ck-change?code=R&revision=1")
    assert answer.headers["content-type"].startswith("text/x-r")
    assert "?revision=1" in answer.text
    assert "@" not in answer.text
    assert not {"P00", "P01"} & set(answer.text.split())
    tag = answer.headers["ETag"]
    again = client.get(f"{home}/analyses/ck-change?code=R&revision=1", headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert client.get(f"{home}/analyses/ck-change?revision=1").headers["ETag"] != tag


@pytest.mark.parametrize(
    ("question", "query", "place"),
    [
        ("planning", "", "/query/code"),
        ("sensitivity", "", "/query/code"),
        ("improvement-score", "", "/query/code"),
        ("ck-normal-groups", "", "/query/by"),
        ("ck-change", "&by=sex", "/query/by"),
        ("ck-change", "&zeros=pratt", "/query/zeros"),
        ("ck-normal-groups", "&by=sex&rescue=composite", "/query/rescue"),
    ],
)
def test_what_has_no_script_is_refused(client, question, query, place):
    answer = client.get(f"{make_study(client)}/analyses/{question}?code=R{query}")
    assert (answer.status_code, codes(answer)) == (422, [(place, "contradiction")])
    if place == "/query/code":
        assert answer.json()["errors"][0]["accepts"]["one_of"] == list(SCRIPTED)


def test_the_whole_report_and_another_language_have_no_script(client):
    home = make_study(client)
    assert codes(client.get(f"{home}/analyses?code=R")) == [("/query/code", "contradiction")]
    assert client.get(f"{home}/analyses/ck-change?code=SAS").status_code == 422
