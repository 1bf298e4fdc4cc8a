"""docs/feeds.md says what the tables of the vocabulary say."""

import re
from decimal import Decimal
from itertools import product
from pathlib import Path

from app.timeline.vocabulary import ANALYTES, UNITS

PAGE = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")


def parts(name: str) -> dict[str, Decimal]:
    """The spellings of a part of a unit with their sizes, as the page lists them."""
    [listed] = re.findall(rf"^\| {name} \| (.*) \|$", PAGE, re.MULTILINE)
    sizes = {}
    for spellings, size in re.findall(r"((?:`[^`]+` |none )+)([\d.]+)", listed):
        sizes |= dict.fromkeys(re.findall(r"`(.+?)`", spellings) or [""], Decimal(size))
    return sizes


def test_every_spelling_of_a_unit_is_documented_with_its_factor():
    units = {
        first + second: size * more
        for (first, size), (second, more) in product(parts("prefix").items(), parts("unit").items())
    }
    units |= parts("or prefix and unit")
    documented = {
        (f"{unit}/{volume}", size * more)
        for (unit, size), (volume, more) in product(units.items(), parts("volume").items())
    } | {
        (unit, Decimal(factor))
        for factor, spellings in re.findall(r"^\| (?:U/L|ug/L).*? \| ([\d.]+) \| (.*) \|$", PAGE, re.MULTILINE)
        for unit in re.findall(r"`(.+?)`", spellings)
    }
    assert documented == {(unit.spelling, unit.factor) for unit in UNITS.values()}


def test_every_analyte_is_documented_with_its_loinc_codes():
    rows = re.findall(r"^\| `(\w+)` \| (\d+-\d) \| (.*?)\|$", PAGE, re.MULTILINE)
    assert {(code, (loinc, *re.findall(r"\d+-\d", others))) for code, loinc, others in rows} == {
        (analyte.code, analyte.loinc_codes) for analyte in ANALYTES.values()
    }
