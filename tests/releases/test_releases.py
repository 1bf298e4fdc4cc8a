"""A database of an earlier release upgrades, and answers as that release did."""

import csv
import json
import lzma
import math
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from app.store import migrations
from tests.releases.questions import ANALYSES, ASKED
from tests.releases.record import DATA, answer, serve
from tests.repetition import PROFILE

CHANGED = {
    "/v1/studies/demo/analyses/nothing": "the known questions are listed",
    "/v1/studies/trial/patients?limit=4": "the end of follow-up stands beside the patient, as the description says",
    "/problems": "the kind `not-installed` was added",
    "/v1/protocols": "the preset for new studies was added",
    "/v1/studies/demo/datasets/ard.csv": "the rows of an onset name its direction",
    "/v1/studies/trial/datasets/ard.csv": "the rows of an onset name its direction",
    "/v1/studies/trial/analyses/ck-normal-groups?by=sex": "two restricted means of which one has no standard error "
    "have no tested difference",
    **{
        f"/v1/studies/{study}/datasets{name}": "the time to the first normal CK has one population in every dataset"
        for study in ("demo", "trial", "ward", "hospital", "resources", "scores", "empty")
        for name in ("", "/adtte.csv")
    },
    **{
        f"/v1/studies/{study}/datasets/adeff.csv": "`DTYPE` names what stands for a bound"
        for study in ("trial", "ward", "hospital")
    },
    "/v1/studies/demo/analyses/comparisons?by=diagnosis": "one limit of Fisher's odds ratio is SciPy's",
    **{
        f"/v1/studies/{study}/analyses/repeated-measures?{options}".rstrip("?"): "the covariance is unstructured"
        for study, asked in ASKED.items()
        for options in ("", *asked)
    },
    **{
        f"/v1/studies/demo/analyses{question}?profile=SAS": "the plateau of SAS is `not_reached`, and it is verified"
        for question in ("", *(f"/{name}" for name in ANALYSES))
    },
}
"""The answers that are not those of an earlier release, and why."""
LABELS = frozenset({"stat_label", "row"})
"""Columns of the results dataset that may change: the words of the description, and the place among more rows."""
GROWING = frozenset({"caveats", "extension", "curve", "flags", "flow"})
"""Lists that may have more items than before, as the counted caveats may. The text of a caveat or of a sensitivity may
say more, too. A curve has a first row at time 0.
"""
_UNCERTAINTY = frozenset({"standard_error", "reason", "intervals"})
CHANGED_FIELDS: dict[str, frozenset[str]] = {
    "incidence": _UNCERTAINTY,
    "rmst": _UNCERTAINTY,
    "rmst_difference": _UNCERTAINTY,
    "entry": frozenset({"request"}),
    "response": frozenset({"status"}),
}
"""Fields of parts that changed by rule: a standard error of 0 is null, and an incidence of 0 has an upper limit. A
history of FHIR tells a create as a create.
"""
EVERY = 3 if PROFILE == "quick" else 1
"""Of how many analyses with options one is asked: in the quick profile each of the twenty questions has other ones."""
RELEASES = sorted(file.name.removesuffix(".db.xz") for file in DATA.glob("*.db.xz"))


def keeps(given: dict[str, Any], recorded: dict[str, Any]) -> bool:
    """Whether an answer still says all that the recorded one says: fields and rows may be added, nothing else."""
    if (given["status"], given["type"]) != (recorded["status"], recorded["type"]):
        return False
    if given["type"].startswith("text/csv"):
        return table_keeps(given["body"], recorded["body"])
    if isinstance(recorded["body"], str) and "json" in given["type"]:
        return part_keeps(json.loads(given["body"]), json.loads(recorded["body"]))
    return bool(given["body"] == recorded["body"])


def part_keeps(given: Any, recorded: Any, name: str = "") -> bool:
    """The same of a part of a JSON answer."""
    if isinstance(recorded, dict) and isinstance(given, dict):
        said = recorded.keys() - ({"text"} if name in {"caveats", "definition"} else CHANGED_FIELDS.get(name, set()))
        listed = "caveats" if recorded.get("analysis") == "caveats" else "results"
        names = {"results": listed}
        return said <= given.keys() and all(
            part_keeps(given[each], recorded[each], names.get(each, each)) for each in said
        )
    if isinstance(recorded, list) and isinstance(given, list):
        if name in GROWING or any("applies" in each for each in recorded if isinstance(each, dict)):
            return all(any(part_keeps(one, each, name) for one in given) for each in recorded)
        pairs = zip(given, recorded, strict=False)
        return len(given) == len(recorded) and all(part_keeps(one, each, name) for one, each in pairs)
    if name == "url" and "?_cursor=" in str(recorded):  # the place in a list has a form of its own
        return str(given).partition("?")[0] == recorded.partition("?")[0]
    return bool(given == recorded)


def table_keeps(given: str, recorded: str) -> bool:
    """The same of a table; only the results dataset may have more rows."""
    now, then = (list(csv.reader(text.splitlines())) for text in (given, recorded))
    kept = [[[row[place] for place, head in enumerate(table[0]) if head not in LABELS] for row in table]
            for table in (now, then)]  # fmt: skip
    if "stat_name" in then[0]:
        return not Counter(map(tuple, kept[1])) - Counter(map(tuple, kept[0]))
    if [len(row) for row in now] != [len(row) for row in then]:
        return False
    return all(map(cell_keeps, chain(*now), chain(*then)))


def cell_keeps(given: str, recorded: str) -> bool:
    """The same of a cell. The last digit of a logarithm depends on the processor: numpy has one of its own for AVX-512,
    and asks the system elsewhere.
    """
    if given == recorded:
        return True
    try:
        return abs(float(given) - float(recorded)) <= 4 * math.ulp(float(recorded))
    except ValueError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_database_of_an_earlier_release_gives_the_answers_of_that_release(release: str, tmp_path: Path):
    file = tmp_path / "release.db"
    file.write_bytes(lzma.decompress((DATA / f"{release}.db.xz").read_bytes()))
    recorded = json.loads(lzma.decompress((DATA / f"{release}.answers.json.xz").read_bytes()))
    analyses = [each for each in recorded if "/analyses" in each and "?" in each and recorded[each]["status"] == 200]
    optional = [address for address in analyses if address not in CHANGED]
    for address in set(optional).difference(optional[::EVERY]):
        del recorded[address]
    migrations.upgrade(f"sqlite:///{file}")
    with serve(file) as client:
        given = {address: answer(client, address) for address in recorded}

    different = [address for address in recorded if not keeps(given[address], recorded[address])]

    unexplained = [address for address in different if address not in CHANGED]
    assert {address: (given[address], recorded[address]) for address in unexplained[:1]} == {}
    assert unexplained == []
    assert set(CHANGED) <= set(different)


def test_there_is_a_database_of_a_release():
    assert "0.1.0" in RELEASES


@pytest.mark.parametrize(
    ("given", "recorded", "kept"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        ({"a": 2}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"caveats": [{"code": "y"}, {"code": "x", "text": "more"}]}, {"caveats": [{"code": "x", "text": "t"}]}, True),
        ({"caveats": [{"code": "y", "text": "t"}]}, {"caveats": [{"code": "x", "text": "t"}]}, False),
    ],
)
def test_an_answer_may_say_more_and_nothing_else(given, recorded, kept):
    assert part_keeps(given, recorded) is kept
