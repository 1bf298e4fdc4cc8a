"""The analysis in R of the examples, run by R against a running service."""

import json
import shutil
import subprocess

import pytest

from tests.clients.conftest import DIRECT
from tests.clients.installing import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed"),
]
SCRIPT = ROOT / "examples" / "analysis.R"


def ran(study: str, port: int, script: str) -> subprocess.CompletedProcess[str]:
    variables = DIRECT | {"MYORESPONSE_URL": f"http://127.0.0.1:{port}"}
    command = ["Rscript", "-e", script, study]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


def rows(printed: str) -> dict[str, tuple[str, str]]:
    """What R computed and what the service answered, by the name of the figure."""
    table = [line for line in printed.splitlines() if len(line) == 64]
    return {line[:32].strip(): (line[32:48].strip(), line[48:].strip()) for line in table[1:]}


def test_r_computes_the_headline_figures_of_the_service(server, study):
    name = study("r")
    told = ran(name, server.port, SCRIPT.read_text(encoding="utf-8"))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith("\n0 figures differ.\n")
    figures = rows(told.stdout)
    assert [figure for figure, (computed, answered) in figures.items() if computed != answered] == []
    assert figures["MMT responders"][0] == "14"
    assert figures["ratio of ratios"][0] == "0.24453711"
    assert figures["CK normal, median, high"][0] == "-"
    report = json.loads(server.ask("GET", f"/v1/studies/{name}/analyses")[1])["analyses"]
    [normal], [change] = report["ck-normal-time"]["results"], report["ck-change"]["results"]
    assert figures["CK normal, median days"][1] == f"{normal['median']['value']:.8g}" == "334.5"
    assert figures["p of the t test"][1] == f"{change['difference']['tests'][0]['p']:.8g}"
    assert len(figures) == 31


def test_r_says_where_a_figure_differs(server, study):
    name = study("r-differs")
    script = SCRIPT.read_text(encoding="utf-8").replace('conf.type = "log-log"', 'conf.type = "plain"')
    told = ran(name, server.port, script)
    assert told.returncode == 1
    assert told.stdout.endswith("\n1 figures differ.\n")


def test_r_has_no_figure_of_a_study_without_data(server, study):
    told = ran(study("r-empty", empty=True), server.port, SCRIPT.read_text(encoding="utf-8"))
    assert (told.returncode, told.stderr) == (0, "")
    assert {computed for computed, _ in rows(told.stdout).values()} == {"0", "-"}
