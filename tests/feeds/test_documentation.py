"""docs/feeds.md says what the tables of the vocabulary say."""

import re
from pathlib import Path

from app.timeline.vocabulary import ANALYTES, UNITS

PAGE = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")


def test_every_spelling_of_a_unit_is_documented_with_its_factor():
    documented = {
        (unit, factor)
        for factor, spellings in re.findall(r"^\| (?:U/L|ug/L).*? \| ([\d.]+) \| (.*) \|$", PAGE, re.MULTILINE)
        for unit in re.findall(r"`(.+?)`", spellings)
    }
    assert documented == {(unit.spelling, str(unit.factor)) for unit in UNITS.values()}


def test_every_analyte_is_documented_with_its_loinc_code():
    assert set(re.findall(r"^\| `(\w+)` \| (\d+-\d) \|$", PAGE, re.MULTILINE)) == {
        (analyte.code, analyte.loinc) for analyte in ANALYTES.values()
    }
