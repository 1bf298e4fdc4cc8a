"""The notebook of the examples, run by a kernel of its own against a running service."""

import json
import re
from decimal import Decimal
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.clients.conftest import DIRECT
from tests.clients.installing import ROOT

NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
HEADLINES = [
    "MMT response: 14 of 15, 93.3 % [68.1, 99.8]",
    "ADL response: 12 of 15, 80 % [51.9, 95.7]",
    "CK response: 15 of 15, 100 % [78.2, 100]",
    "CK, after treatment over before: ratio of ratios 0.245 [0.181, 0.331], p = 9.6e-08",
    "CK stays normal: median 334.5 days [77, (not_reached)] in 13 patients",
    "Adverse reactions: 7 of 16 patients, 43.8 % [19.8, 70.1]",
]


def executed(study: str, port: int) -> Any:
    """The notebook with what its cells gave, for a study of a service."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('STUDY = "demo"', f'STUDY = "{study}"')
    inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    variables = DIRECT | inline | {"MYORESPONSE_URL": f"http://127.0.0.1:{port}"}
    NotebookClient(notebook, timeout=300, coalesce_streams=True).execute(env=variables)
    return notebook


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook: Any) -> list[str]:
    """The lines that the cells print. A warning of a cell is a failure."""
    streams = [output for output in outputs(notebook) if output.output_type == "stream"]
    assert {stream.name for stream in streams} == {"stdout"}
    return [line for stream in streams for line in stream.text.splitlines()]


def test_the_notebook_is_stored_without_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count is not None] == []
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def limits(intervals: list[dict[str, Any]], factor: float = 1) -> list[float]:
    ends = (intervals[0]["low"], intervals[0]["high"])
    return [factor * end for end in ends if end is not None]


def figures(answers: dict[str, Any]) -> list[list[float]]:
    """The numbers that the lines of headline figures show, from the answers of the service."""
    rates = [
        [each["responders"], each["evaluable"], 100 * each["rate"], *limits(each["intervals"], 100)]
        for each in answers["response-rates"]["results"]
        if each["primary"]
    ]
    change = answers["ck-change"]["results"][0]["difference"]
    of_ratio = [each for each in change["intervals"] if each["of"] == "ratio_of_ratios"]
    normal = answers["ck-normal-time"]["results"][0]
    safety = answers["adverse-reactions"]["results"][0]
    return [
        *rates,
        [change["ratio_of_ratios"], *limits(of_ratio), change["tests"][0]["p"]],
        [normal["median"]["value"], *limits(normal["median"]["intervals"]), normal["n"]],
        [
            *(safety["patients_with_reaction"], safety["safety"], 100 * safety["rate"]),
            *limits(safety["intervals"], 100),
        ],
    ]


def differs(shown: str, number: float) -> bool:
    """Whether a number is not what is shown of it, to the last digit that is shown."""
    unit = Decimal(1).scaleb(Decimal(shown).as_tuple().exponent)
    return abs(Decimal(number) - Decimal(shown)) > unit / 2


@pytest.mark.slow
def test_the_notebook_prints_the_figures_of_the_service_and_draws_one_chart(server, study):
    name = study("notebook")
    notebook = executed(name, server.port)
    lines = printed(notebook)
    assert lines[2:8] == HEADLINES
    asked = json.loads(server.ask("GET", f"/v1/studies/{name}/analyses")[1])["analyses"]
    for line, numbers in zip(lines[2:8], figures(asked), strict=True):
        shown = re.findall(r"\d[\d.]*(?:e-\d+)?", line)
        assert [pair for pair in zip(shown, numbers, strict=True) if differs(*pair)] == []
    claims = [claim["text"] for answer in asked.values() for claim in answer["claims"] if claim["supported"]]
    quoted = [line.removeprefix("supported: ") for line in lines[8:-1]]
    assert len(quoted) == 5
    assert set(quoted) <= set(claims)
    assert len([output for output in outputs(notebook) if "image/png" in output.get("data", {})]) == 1
    assert lines[-1] == f"http://127.0.0.1:{server.port}/v1/studies/{name}/analyses?revision=16"


@pytest.mark.slow
def test_the_notebook_shows_reasons_where_a_study_has_no_data(server, study):
    lines = printed(executed(study("notebook-empty", empty=True), server.port))
    assert lines[2] == "MMT response: 0 of 0, (no_patients)"
    assert lines[6] == "CK stays normal: median (no_patients) in 0 patients"
    assert [line for line in lines if line.startswith("supported")] == []
