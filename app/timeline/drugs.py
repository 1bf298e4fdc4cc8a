"""The drug dictionary: glucocorticoids, immunosuppressants, biologics and immunoglobulin as feeds and people name them.

What is stored keeps the name as it was sent. Analyses look the name up here, so that `MTX` and `methotrexate` are one
drug in facts that are already stored, too. A name that is not in this table, or that two drugs share, is no drug: it is
never guessed.

Sources. Codes of ATC: the index of the WHO Collaborating Centre for Drug Statistics Methodology (2026), and its list of
alterations for codes that were replaced in 2008, 2017, 2022 and 2024. Codes of RxNorm: ingredients (term type IN) of
RxNav; there is none here where none was confirmed. Equivalents of glucocorticoids: at `Drug.equal_to_5_mg`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal
from unicodedata import normalize

from app.timeline.vocabulary import ATC, SYSTEMS

DrugKind = Literal["glucocorticoid", "immunosuppressant", "biologic", "immunoglobulin"]
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
DRUG_SYSTEMS: dict[str, str] = {
    **{name: system for name, system in SYSTEMS.items() if system == ATC},
    RXNORM: RXNORM,
    "urn:oid:2.16.840.1.113883.6.88": RXNORM,
    "RXNORM": RXNORM,
    "RxNorm": RXNORM,
    "http://fhir.de/CodeSystem/bfarm/atc": ATC,
    "http://fhir.de/CodeSystem/dimdi/atc": ATC,
}
"""From the names of code systems in feeds to the two that code our drugs. The German edition of ATC has equal codes."""


@dataclass(frozen=True, slots=True)
class Drug:
    """One drug: its international name, its codes (the first is written), and other names.

    `equal_to_5_mg` is the dose in mg of a systemic glucocorticoid that has the anti-inflammatory effect of 5 mg of
    prednisolone, by mouth or into a vein. Source of each: the table "Equivalent anti-inflammatory doses of
    corticosteroids" of the British National Formulary (prednisolone 5 mg = betamethasone 0.75 mg = deflazacort 6 mg =
    dexamethasone 0.75 mg = hydrocortisone 20 mg = methylprednisolone 4 mg = prednisone 5 mg). The labels of
    prednisolone and methylprednisolone of the FDA give the same doses (deflazacort is not in them). Pulses are
    converted by the same factor: there is no other one.
    """

    name: str
    kind: DrugKind
    atc_codes: tuple[str, ...]
    rxnorm_codes: tuple[str, ...] = ()
    other_names: tuple[str, ...] = ()
    equal_to_5_mg: Decimal | None = None

    @property
    def atc(self) -> str:
        """The ATC code that is written."""
        return self.atc_codes[0]

    @property
    def prednisolone_equivalent(self) -> Fraction | None:
        """Milligrams of prednisolone with the effect of 1 mg; `None` if the drug is no glucocorticoid."""
        return None if self.equal_to_5_mg is None else Fraction(5) / Fraction(self.equal_to_5_mg)


def _glucocorticoid(name: str, equal: str, atc: str, rxnorm: str, *other_names: str) -> Drug:
    return Drug(name, "glucocorticoid", (atc,), (rxnorm,), other_names, Decimal(equal))


DRUGS: tuple[Drug, ...] = (
    _glucocorticoid(
        "prednisolone", "5", "H02AB06", "8638",
        "PSL", "prednisolon", "prednisolona", "Prelone", "Decortin H", "プレドニゾロン", "プレドニン",
    ),
    _glucocorticoid(
        "prednisone", "5", "H02AB07", "8640",
        "prednison", "prednisona", "Deltasone", "Decortin", "Rayos", "Lodotra", "プレドニゾン",
    ),
    _glucocorticoid(
        "methylprednisolone", "4", "H02AB04", "6902",
        "mPSL", "methylprednisolon", "methylprednisolone sodium succinate", "methylprednisolone pulse",
        "mPSL pulse", "Medrol", "Solu-Medrol", "Urbason", "メチルプレドニゾロン", "メドロール", "ソル・メドロール",
    ),
    _glucocorticoid(
        "dexamethasone", "0.75", "H02AB02", "3264",
        "DEX", "dexamethason", "Decadron", "Fortecortin", "デキサメタゾン", "デカドロン",
    ),
    _glucocorticoid(
        "hydrocortisone", "20", "H02AB09", "5492",
        "hydrocortison", "cortisol", "Cortef", "Solu-Cortef", "ヒドロコルチゾン", "コートリル",
    ),
    _glucocorticoid("deflazacort", "6", "H02AB13", "22396", "DFZ", "Calcort", "Emflaza", "デフラザコート"),
    _glucocorticoid(
        "betamethasone", "0.75", "H02AB01", "1514",
        "betamethason", "Celestone", "ベタメタゾン", "リンデロン",
    ),
    Drug(
        "methotrexate", "immunosuppressant", ("L04AX03", "L01BA01"), ("6851",),
        ("MTX", "methotrexat", "amethopterin", "methotrexate sodium", "Rheumatrex", "メトトレキサート"),
    ),
    Drug(
        "azathioprine", "immunosuppressant", ("L04AX01",), ("1256",),
        ("AZA", "AZP", "azathioprin", "Imuran", "Imurek", "アザチオプリン", "イムラン"),
    ),
    Drug(
        "mycophenolic acid", "immunosuppressant", ("L04AA06",), ("7145", "68149"),
        (
            "MMF", "mycophenolate mofetil", "mycophenolate", "mycophenolate sodium", "mycophenolsäure", "mycophenolat",
            "mycophenolatmofetil", "mycophenolat mofetil", "EC-MPS", "CellCept", "Myfortic",
            "ミコフェノール酸モフェチル", "セルセプト",
        ),
    ),
    Drug(
        "ciclosporin", "immunosuppressant", ("L04AD01", "L04AA01"), ("3008",),
        (
            "cyclosporine", "cyclosporin", "ciclosporine", "cyclosporin A", "cyclosporine A", "ciclosporin A", "CyA",
            "CsA", "Neoral", "Sandimmun", "Sandimmune", "シクロスポリン", "ネオーラル",
        ),
    ),
    Drug(
        "tacrolimus", "immunosuppressant", ("L04AD02", "L04AA05"), ("42316",),
        ("TAC", "FK506", "Prograf", "タクロリムス", "プログラフ"),
    ),
    Drug(
        "cyclophosphamide", "immunosuppressant", ("L01AA01",), ("3002",),
        ("cyclophosphamid", "IVCY", "Cytoxan", "Endoxan", "シクロホスファミド", "シクロフォスファミド", "エンドキサン"),
    ),
    Drug(
        "leflunomide", "immunosuppressant", ("L04AK01", "L04AA13"), ("27169",),
        ("LEF", "leflunomid", "Arava", "レフルノミド", "アラバ"),
    ),
    Drug(
        "hydroxychloroquine", "immunosuppressant", ("P01BA02",), ("5521",),
        (
            "HCQ", "hydroxychloroquin", "hydroxychloroquine sulfate", "hydroxychloroquine sulphate", "Plaquenil",
            "Quensyl", "ヒドロキシクロロキン", "プラケニル",
        ),
    ),
    Drug(
        "sulfasalazine", "immunosuppressant", ("A07EC01",), ("9524",),
        (
            "SSZ", "SASP", "sulphasalazine", "sulfasalazin", "salazosulfapyridine", "Azulfidine", "Salazopyrin",
            "サラゾスルファピリジン",
        ),
    ),
    Drug(
        "baricitinib", "immunosuppressant", ("L04AF02", "L04AA37"), ("2047232",),
        ("BARI", "Olumiant", "バリシチニブ", "オルミエント"),
    ),
    Drug(
        "tofacitinib", "immunosuppressant", ("L04AF01", "L04AA29"), ("1357536",),
        ("TOFA", "Xeljanz", "トファシチニブ", "ゼルヤンツ"),
    ),
    Drug(
        "ruxolitinib", "immunosuppressant", ("L01EJ01",), ("1193326",),
        ("RUX", "Jakafi", "Jakavi", "ルキソリチニブ"),
    ),
    Drug(
        "rituximab", "biologic", ("L01FA01", "L01XC02"), ("121191",),
        ("RTX", "MabThera", "Rituxan", "リツキシマブ", "リツキサン"),
    ),
    Drug(
        "tocilizumab", "biologic", ("L04AC07",), ("612865",),
        ("TCZ", "Actemra", "RoActemra", "トシリズマブ", "アクテムラ"),
    ),
    Drug(
        "abatacept", "biologic", ("L04AA24",), ("614391",),
        ("ABA", "ABT", "Orencia", "アバタセプト", "オレンシア"),
    ),
    Drug(
        "infliximab", "biologic", ("L04AB02", "L04AA12"), ("191831",),
        ("IFX", "Remicade", "インフリキシマブ", "レミケード"),
    ),
    Drug(
        "adalimumab", "biologic", ("L04AB04", "L04AA17"), ("327361",),
        ("ADA", "Humira", "アダリムマブ", "ヒュミラ"),
    ),
    Drug(
        "etanercept", "biologic", ("L04AB01", "L04AA11"), ("214555",),
        ("ETN", "Enbrel", "エタネルセプト", "エンブレル"),
    ),
    Drug("anifrolumab", "biologic", ("L04AG11", "L04AA51"), (), ("Saphnelo", "アニフロルマブ", "サフネロー")),
    Drug(
        "belimumab", "biologic", ("L04AG04", "L04AA26"), ("1092437",),
        ("BEL", "Benlysta", "ベリムマブ", "ベンリスタ"),
    ),
    Drug(
        "eculizumab", "biologic", ("L04AJ01", "L04AA25"), ("591781",),
        ("ECU", "Soliris", "エクリズマブ", "ソリリス"),
    ),
    Drug("zilucoplan", "biologic", ("L04AJ06",), (), ("Zilbrysq", "ジルコプラン")),
    Drug(
        "efgartigimod alfa", "biologic", ("L04AL01", "L04AA58"), (),
        ("efgartigimod", "Vyvgart", "エフガルチギモド"),
    ),
    Drug(
        "IVIG", "immunoglobulin", ("J06BA02",), (),
        (
            "IVIg", "IGIV", "intravenous immunoglobulin", "intravenous immune globulin", "iv immunoglobulin",
            "immunoglobulins, normal human, for intravascular adm.", "intravenöse Immunglobuline",
            "免疫グロブリン静注", "静注用免疫グロブリン",
        ),
    ),
    Drug(
        "SCIG", "immunoglobulin", ("J06BA01",), (),
        (
            "SCIg", "IGSC", "subcutaneous immunoglobulin", "subcutaneous immune globulin",
            "immunoglobulins, normal human, for extravascular adm.", "subkutane Immunglobuline",
        ),
    ),
)  # fmt: skip
"""The drugs that analyses know. Brand names are those of the first product; a salt is here only if its label gives the
dose of the base.
"""

AMBIGUOUS: dict[str, tuple[str, ...]] = {
    "pred": ("prednisolone", "prednisone"),
    "pdn": ("prednisolone", "prednisone"),
    "mp": ("methylprednisolone", "mercaptopurine"),
    "hc": ("hydrocortisone", "hydrocodone"),
    "cpa": ("cyclophosphamide", "cyproterone acetate"),
    "cyc": ("cyclophosphamide", "ciclosporin"),
    "cy": ("cyclophosphamide", "ciclosporin"),
    "ctx": ("cyclophosphamide", "ceftriaxone"),
    "cys": ("ciclosporin", "cysteine"),
    "mpa": ("mycophenolic acid", "medroxyprogesterone acetate"),
    "steroid": ("prednisolone", "methylprednisolone", "dexamethasone", "hydrocortisone"),
    "immunoglobulin": ("IVIG", "SCIG"),
    "ig": ("IVIG", "SCIG"),
}
"""Short names that mean two or more drugs: they are noted, and no drug is chosen."""

_BETWEEN = re.compile(r"[\s\-\u2010-\u2015_.・]+")


def _spelled(name: str) -> str:
    """The form in which names are compared: width, case, spaces, hyphens, dots and middle dots do not matter."""
    return _BETWEEN.sub("", normalize("NFKC", name)).casefold()


def _by_name(drugs: Iterable[Drug]) -> dict[str, Drug]:
    return {_spelled(name): drug for drug in drugs for name in (drug.name, *drug.other_names, *drug.atc_codes)}


_NAMED = _by_name(DRUGS)
_CODED: dict[tuple[str, str], Drug] = {
    **{(ATC, code): drug for drug in DRUGS for code in drug.atc_codes},
    **{(RXNORM, code): drug for drug in DRUGS for code in drug.rxnorm_codes},
}


def drug_of(text: str, system: str | None = None) -> Drug | None:
    """The drug with this name or ATC code; with `system`, the drug with this code of it. `None` if there is none."""
    if system is None:
        return _NAMED.get(_spelled(text))
    return _CODED.get((DRUG_SYSTEMS.get(system, system), text.strip().upper()))


def drug_key(name: str) -> str:
    """The form in which names of drugs are compared: the name of the drug, or else the name itself in small letters."""
    drug = drug_of(name)
    return name.strip().casefold() if drug is None else drug.name.casefold()


def could_mean(name: str) -> tuple[str, ...]:
    """The drugs that share this short name; empty if the name is not known to be ambiguous."""
    return AMBIGUOUS.get(_spelled(name), ())
