"""The drug dictionary against literal tables: each name and code in two spellings, each equivalent as a figure."""

from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest

from app.timeline.drugs import AMBIGUOUS, DRUGS, RXNORM, could_mean, drug_key, drug_of
from app.timeline.vocabulary import ATC

INDEX = {
    # name: (kind, ATC codes, RxNorm codes), written from the sources and not from the table
    "prednisolone": ("glucocorticoid", "H02AB06", "8638"),
    "prednisone": ("glucocorticoid", "H02AB07", "8640"),
    "methylprednisolone": ("glucocorticoid", "H02AB04", "6902"),
    "dexamethasone": ("glucocorticoid", "H02AB02", "3264"),
    "hydrocortisone": ("glucocorticoid", "H02AB09", "5492"),
    "deflazacort": ("glucocorticoid", "H02AB13", "22396"),
    "betamethasone": ("glucocorticoid", "H02AB01", "1514"),
    "methotrexate": ("immunosuppressant", "L04AX03 L01BA01", "6851"),
    "azathioprine": ("immunosuppressant", "L04AX01", "1256"),
    "mycophenolic acid": ("immunosuppressant", "L04AA06", "7145 68149"),
    "ciclosporin": ("immunosuppressant", "L04AD01 L04AA01", "3008"),
    "tacrolimus": ("immunosuppressant", "L04AD02 L04AA05", "42316"),
    "cyclophosphamide": ("immunosuppressant", "L01AA01", "3002"),
    "leflunomide": ("immunosuppressant", "L04AK01 L04AA13", "27169"),
    "hydroxychloroquine": ("immunosuppressant", "P01BA02", "5521"),
    "sulfasalazine": ("immunosuppressant", "A07EC01", "9524"),
    "baricitinib": ("immunosuppressant", "L04AF02 L04AA37", "2047232"),
    "tofacitinib": ("immunosuppressant", "L04AF01 L04AA29", "1357536"),
    "ruxolitinib": ("immunosuppressant", "L01EJ01", "1193326"),
    "rituximab": ("biologic", "L01FA01 L01XC02", "121191"),
    "tocilizumab": ("biologic", "L04AC07", "612865"),
    "abatacept": ("biologic", "L04AA24", "614391"),
    "infliximab": ("biologic", "L04AB02 L04AA12", "191831"),
    "adalimumab": ("biologic", "L04AB04 L04AA17", "327361"),
    "etanercept": ("biologic", "L04AB01 L04AA11", "214555"),
    "anifrolumab": ("biologic", "L04AG11 L04AA51", ""),
    "belimumab": ("biologic", "L04AG04 L04AA26", "1092437"),
    "eculizumab": ("biologic", "L04AJ01 L04AA25", "591781"),
    "zilucoplan": ("biologic", "L04AJ06", ""),
    "efgartigimod alfa": ("biologic", "L04AL01 L04AA58", ""),
    "IVIG": ("immunoglobulin", "J06BA02", ""),
    "SCIG": ("immunoglobulin", "J06BA01", ""),
}

SHORT = {
    "MTX": "methotrexate", "AZA": "azathioprine", "MMF": "mycophenolic acid", "CyA": "ciclosporin",
    "CsA": "ciclosporin", "cyclosporine": "ciclosporin", "TAC": "tacrolimus", "FK-506": "tacrolimus",
    "RTX": "rituximab", "IVIG": "IVIG", "IVIg": "IVIG", "SCIg": "SCIG", "mPSL": "methylprednisolone",
    "PSL": "prednisolone", "DEX": "dexamethasone", "HCQ": "hydroxychloroquine", "TCZ": "tocilizumab",
    "Solu-Medrol": "methylprednisolone", "mycophenolate mofetil": "mycophenolic acid", "SASP": "sulfasalazine",
    "Prednisolon": "prednisolone", "Methotrexat": "methotrexate", "Azathioprin": "azathioprine",
    "プレドニゾロン": "prednisolone", "メチルプレドニゾロン": "methylprednisolone", "ﾒﾄﾄﾚｷｻｰﾄ": "methotrexate",
    "ソルメドロール": "methylprednisolone", "タクロリムス": "tacrolimus", "シクロスポリン": "ciclosporin",
}  # fmt: skip


def _name(text: str, system: str | None = None) -> str | None:
    drug = drug_of(text, system)
    return None if drug is None else drug.name


def test_the_dictionary_is_the_index_of_its_sources() -> None:
    assert {drug.name: (drug.kind, " ".join(drug.atc_codes), " ".join(drug.rxnorm_codes)) for drug in DRUGS} == INDEX


@pytest.mark.parametrize(("name", "row"), INDEX.items(), ids=list(INDEX))
def test_each_code_is_found_by_two_names_of_its_system(name: str, row: tuple[str, str, str]) -> None:
    for code in row[1].split():
        assert _name(code, ATC) == _name(code.lower(), "urn:oid:2.16.840.1.113883.6.73") == name
        assert _name(code) == name
    for code in row[2].split():
        assert _name(code, RXNORM) == _name(f" {code}", "urn:oid:2.16.840.1.113883.6.88") == name
        assert _name(code) is None, "a number without its system is no drug"


def test_each_name_is_found_in_two_spellings() -> None:
    for drug in DRUGS:
        for name in (drug.name, *drug.other_names):
            other = f"  {name.swapcase().replace(' ', '-')} "
            assert _name(name) == _name(other) == drug.name, name
            assert drug_key(name) == drug_key(other) == drug.name.casefold()


@pytest.mark.parametrize(("short", "name"), SHORT.items(), ids=list(SHORT))
def test_the_usual_names_mean_their_drug(short: str, name: str) -> None:
    assert _name(short) == _name(short.lower()) == name


def test_no_two_drugs_share_a_name_or_a_code() -> None:
    def spellings(drug: object) -> set[str]:
        assert isinstance(drug, type(DRUGS[0]))
        names = (drug.name, *drug.other_names, *drug.atc_codes, *drug.rxnorm_codes)
        return {name.casefold().replace(" ", "").replace("-", "") for name in names}

    for one, other in combinations(DRUGS, 2):
        assert not spellings(one) & spellings(other), (one.name, other.name)


@pytest.mark.parametrize("short", AMBIGUOUS)
def test_an_ambiguous_short_name_is_no_drug_and_says_what_it_could_mean(short: str) -> None:
    assert drug_of(short) is None
    assert drug_of(short.upper()) is None
    assert len(could_mean(short.upper())) >= 2
    assert could_mean("prednisolone") == ()


@pytest.mark.parametrize(
    ("drug", "milligrams", "prednisolone"),
    [  # the doses of the British National Formulary that are equal to 5 mg of prednisolone, and usual doses
        ("prednisolone", "5", "5"),
        ("prednisone", "5", "5"),
        ("betamethasone", "0.75", "5"),
        ("deflazacort", "6", "5"),
        ("dexamethasone", "0.75", "5"),
        ("hydrocortisone", "20", "5"),
        ("methylprednisolone", "4", "5"),
        ("methylprednisolone", "1000", "1250"),
        ("dexamethasone", "40", "800/3"),
        ("deflazacort", "30", "25"),
    ],
)
def test_each_equivalent_is_the_figure_of_its_source(drug: str, milligrams: str, prednisolone: str) -> None:
    known = drug_of(drug)
    assert known is not None
    assert known.prednisolone_equivalent is not None
    assert Fraction(milligrams) * known.prednisolone_equivalent == Fraction(prednisolone)


def test_only_glucocorticoids_have_an_equivalent() -> None:
    assert {drug.name for drug in DRUGS if drug.prednisolone_equivalent is not None} == {
        drug.name for drug in DRUGS if drug.kind == "glucocorticoid"
    }


@pytest.mark.parametrize(
    "text", ["", "insulin", "prednisolone eye drops", "hydrocortisone cream", "8640", "H02AB", "triamcinolone"]
)
def test_other_words_are_no_drug_of_ours(text: str) -> None:
    assert drug_of(text) is None
    assert could_mean(text) == ()
    assert drug_key(f" {text.upper()}") == text.casefold()


def test_a_code_of_another_system_is_no_drug() -> None:
    assert drug_of("8640", "http://snomed.info/sct") is None
    assert drug_of("H02AB07", RXNORM) is None


def test_the_page_about_feeds_has_the_dictionary() -> None:
    page = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    for drug in DRUGS:
        equal = "—" if drug.equal_to_5_mg is None else drug.equal_to_5_mg
        cells = (drug.name, drug.kind, ", ".join(drug.atc_codes), ", ".join(drug.rxnorm_codes) or "—", equal)
        assert f"| {' | '.join(map(str, cells))} | {', '.join(drug.other_names)} |" in page
