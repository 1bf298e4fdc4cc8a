"""A database of an earlier release upgrades, and answers as that release did."""

import json
import lzma
from pathlib import Path

import pytest

from app.store import migrations
from tests.releases.record import DATA, answer, serve

RELEASES = sorted(file.name.removesuffix(".db.xz") for file in DATA.glob("*.db.xz"))


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES)
def test_a_database_of_an_earlier_release_gives_the_answers_of_that_release(release: str, tmp_path: Path):
    file = tmp_path / "release.db"
    file.write_bytes(lzma.decompress((DATA / f"{release}.db.xz").read_bytes()))
    recorded = json.loads(lzma.decompress((DATA / f"{release}.answers.json.xz").read_bytes()))
    migrations.upgrade(f"sqlite:///{file}")
    with serve(file) as client:
        different = {address: given for address in recorded if (given := answer(client, address)) != recorded[address]}

    assert {address: (different[address], recorded[address]) for address in list(different)[:1]} == {}
    assert list(different) == []


def test_there_is_a_database_of_a_release():
    assert "0.1.0" in RELEASES
