"""A database of an earlier release upgrades, and answers as that release did."""

import csv
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from app.store import migrations
from tests.releases.questions import ANALYSES, ASKED
from tests.releases.record import DATA, answer, serve

STUDIES = ("", "?limit=2", *map("/{}".format, ("demo", "trial", "ward", "hospital", "resources", "scores", "empty")))
CHANGED = {f"/v1/studies{address}": "a study declares more of its feeds" for address in STUDIES} | {
    "/v1/studies/demo/analyses/nothing": "the known questions are listed",
    "/v1/studies/trial/patients?limit=4": "the end of follow-up stands beside the patient, as the description says",
    "/problems": "the kind `not-installed` was added",
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
LABELS = "stat_label"
"""A column that repeats the words of the description, which may improve; the rest of such a table may not change."""
RELEASES = sorted(file.name.removesuffix(".db.xz") for file in DATA.glob("*.db.xz"))


def compared(given: dict[str, Any]) -> dict[str, Any]:
    """An answer without the column of labels, where it is a table that has one."""
    if not given["type"].startswith("text/csv"):
        return given
    rows = list(csv.reader(given["body"].splitlines()))
    kept = [place for place, name in enumerate(rows[0]) if name != LABELS]
    return given | {"body": [[row[place] for place in kept] for row in rows]} if LABELS in rows[0] else given


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_database_of_an_earlier_release_gives_the_answers_of_that_release(release: str, tmp_path: Path):
    file = tmp_path / "release.db"
    file.write_bytes(lzma.decompress((DATA / f"{release}.db.xz").read_bytes()))
    recorded = json.loads(lzma.decompress((DATA / f"{release}.answers.json.xz").read_bytes()))
    migrations.upgrade(f"sqlite:///{file}")
    with serve(file) as client:
        given = {address: answer(client, address) for address in recorded}

    different = [address for address in recorded if compared(given[address]) != compared(recorded[address])]

    unexplained = [address for address in different if address not in CHANGED]
    assert {address: (given[address], recorded[address]) for address in unexplained[:1]} == {}
    assert unexplained == []
    assert set(CHANGED) <= set(different)


def test_there_is_a_database_of_a_release():
    assert "0.1.0" in RELEASES
