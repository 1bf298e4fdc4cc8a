"""The codes, units and instruments that a timeline may use, and the code book of a study's feeds.

Only this module translates other spellings into ours. A code or unit that is not in its tables is refused. Sources:
LOINC (the codes in `Analyte.loinc` and `Analyte.siblings`); UCUM (unit codes; `kat` = 1 mol/s and `U` = 1 umol/min, so
that 1 ukat/L is exactly 60 U/L and 1 nkat/L exactly 0.06 U/L). In UCUM the international unit is an arbitrary unit,
which software does not convert. Laboratories write it for U in enzyme activities, so its spellings are aliases here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Literal, NamedTuple, cast, get_args
from unicodedata import normalize

from app.errors import FaultCode

LabCode = Literal["CK", "LDH", "AST", "ALT", "ALDOLASE", "MYOGLOBIN"]
Loinc = Literal[
    "2157-6", "2532-0", "1920-8", "30239-8", "88112-8", "1742-6", "1743-4", "1744-2", "1761-6", "2639-3"
]  # fmt: skip
AssessmentCode = Literal[
    "MMT",
    "MMT8",
    "MMT8_UNILATERAL",
    "MMT26",
    "ADL",
    "PHYSICIAN_GLOBAL",
    "PATIENT_GLOBAL",
    "EXTRAMUSCULAR",
    "HAQ",
    "CHAQ",
    "CMAS",
]
Direction = Literal["higher", "lower"]
Quantity = Literal["activity", "mass"]
Sex = Literal["female", "male", "other", "unknown"]
Diagnosis = Literal[
    "polymyositis",
    "dermatomyositis",
    "juvenile_dermatomyositis",
    "immune_mediated_necrotizing_myopathy",
    "antisynthetase_syndrome",
    "inclusion_body_myositis",
    "overlap_myositis",
    "other",
]
Status = Literal["preliminary", "final", "amended", "corrected", "entered-in-error", "cancelled"]
Comparator = Literal["<", "<=", ">=", ">"]
Severity = Literal["mild", "moderate", "severe", "life_threatening", "fatal"]
Relation = Literal["definite", "probable", "possible", "unlikely", "unrelated", "unknown"]
EndReason = Literal["completed", "withdrawn", "lost", "died", "other"]
InfusionUnit = Literal["g/kg", "mg/kg", "g", "mg"]
MedicationUnit = Literal["mg/d", "g/d", "ug/d", "mg/wk", "mg/kg/d", "mg/m2", "mg/kg", "mg", "g"]

LAB_CODES: tuple[LabCode, ...] = get_args(LabCode)
ASSESSMENT_CODES: tuple[AssessmentCode, ...] = get_args(AssessmentCode)
STATUSES: tuple[Status, ...] = get_args(Status)
WITHDRAWN: frozenset[str] = frozenset({"entered-in-error", "cancelled"})

STATUS_ORDER: dict[str, int] = {
    "preliminary": 0,
    "final": 1,
    "amended": 2,
    "corrected": 3,
    "entered-in-error": 4,
    "cancelled": 4,
}
"""The order of assertions of one fact with equal version and issue time; the greater one stands."""


@dataclass(frozen=True, slots=True)
class Analyte:
    """A laboratory test: short name, LOINC code, the quantity that it measures, and the canonical unit.

    `siblings` are LOINC codes of the same quantity in serum or plasma that say whether pyridoxal-5'-phosphate is added.
    """

    code: LabCode
    loinc: Loinc
    quantity: Quantity
    unit: str
    name: str
    siblings: tuple[Loinc, ...] = ()

    @property
    def loinc_codes(self) -> tuple[Loinc, ...]:
        """All LOINC codes of this test; the first one is written."""
        return self.loinc, *self.siblings


@dataclass(frozen=True, slots=True)
class Unit:
    """An accepted spelling of a unit, its quantity, and the exact factor to the canonical unit of that quantity.

    `is_ucum`: the spelling is a case-sensitive code of UCUM with this meaning.
    """

    spelling: str
    quantity: Quantity
    factor: Decimal
    is_ucum: bool = False


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument: its range and which end is better. If they are `None`, the protocol declares them.

    An `analogue` scale is a line whose length may differ: a score on another length is proportional.
    """

    code: AssessmentCode
    maximum: float | None
    better: Direction | None
    name: str
    analogue: bool = False


ANALYTES: dict[str, Analyte] = {
    analyte.code: analyte
    for analyte in (
        Analyte("CK", "2157-6", "activity", "U/L", "creatine kinase, enzymatic activity in serum or plasma"),
        Analyte("LDH", "2532-0", "activity", "U/L", "lactate dehydrogenase, enzymatic activity in serum or plasma"),
        Analyte(
            "AST", "1920-8", "activity", "U/L", "aspartate aminotransferase, enzymatic activity in serum or plasma",
            ("30239-8", "88112-8"),
        ),
        Analyte(
            "ALT", "1742-6", "activity", "U/L", "alanine aminotransferase, enzymatic activity in serum or plasma",
            ("1743-4", "1744-2"),
        ),
        Analyte("ALDOLASE", "1761-6", "activity", "U/L", "aldolase, enzymatic activity in serum or plasma"),
        Analyte("MYOGLOBIN", "2639-3", "mass", "ug/L", "myoglobin, mass concentration in serum or plasma"),
    )
}  # fmt: skip

LAB_CODE_OF: dict[str, LabCode] = {
    spelling: analyte.code for analyte in ANALYTES.values() for spelling in (analyte.code, *analyte.loinc_codes)
}
"""From short name or LOINC code to short name. Only our own format accepts a LOINC code without its system."""

_MICRO = ("u", "\u00b5", "\u03bc")
"""As UCUM writes it, the micro sign, and the Greek letter."""
_PREFIXES: dict[str, str] = {
    "k": "1000",
    "": "1",
    "m": "0.001",
    **dict.fromkeys(_MICRO, "0.000001"),
    "n": "0.000000001",
}
ENZYME_UNITS = ("U", "[IU]", "[iU]", "[U]", "IU", "UI", "IE")
"""UCUM's unit of enzyme activity and its international unit; what OMOP, English, Romance and German texts write."""
KATALS: dict[str, str] = {**dict.fromkeys((each + "kat" for each in _MICRO), "60"), "nkat": "0.06", "pkat": "0.00006"}
"""In U. `kat` and `mkat` are not here: no laboratory measures in them, and both are what is left of `\u00b5kat` after
its first letter was lost or replaced.
"""
VOLUMES: dict[str, str] = {
    prefix + litre: per_litre
    for prefix, per_litre in {"": "1", "d": "10", "m": "1000", **dict.fromkeys(_MICRO, "1000000")}.items()
    for litre in ("L", "l")
}
"""How many of them are a litre."""

_UCUM_MASSES = ("ug/L", "ug/l", "ng/mL", "ng/ml")
_SPELLINGS: tuple[tuple[Quantity, str, tuple[str, ...]], ...] = (
    ("activity", "1", ("u/L", "u/l", "iu/L", "iu/l", "unit/L", "units/L", "Unit/L", "Units/L")),
    ("activity", "1", ("mu/mL", "mu/ml", "miu/mL", "miu/ml", "MU/ML", "MIU/ML", "M[IU]/ML")),
    ("activity", "10", ("U/DL", "IU/DL", "[IU]/DL")),
    ("activity", "1000", ("ku/L", "ku/l", "kiu/L", "kiu/l", "KU/L", "KIU/L", "K[IU]/L")),
    ("activity", "60", ("UKAT/L", "uKat/L", "\u00b5Kat/L", "\u03bcKat/L")),
    ("activity", "0.06", ("NKAT/L", "nKat/L")),
    ("mass", "1", _UCUM_MASSES),
    ("mass", "1", ("\u00b5g/L", "\u00b5g/l", "\u03bcg/L", "\u03bcg/l", "mcg/L", "mcg/l", "NG/ML")),
)
"""Spellings without a rule. Those in another case are here only if the case cannot hide another unit: `MU/ML` is 1 U/L
for milli and for mega alike, while `MU/L` and `U/ML` (a megalitre in UCUM) are refused.
"""


def _units() -> Iterator[Unit]:
    """`prefix unit/volume` for the units of enzyme activity, and the spellings without a rule."""
    amounts = [
        (prefix + unit, Decimal(size), prefix.isascii() and unit in {"U", "[IU]", "[iU]"})
        for unit in ENZYME_UNITS
        for prefix, size in _PREFIXES.items()
    ]
    amounts += [(katal, Decimal(size), katal.isascii()) for katal, size in KATALS.items()]
    for amount, size, is_ucum in amounts:
        for volume, per_litre in VOLUMES.items():
            yield Unit(f"{amount}/{volume}", "activity", size * Decimal(per_litre), is_ucum and volume.isascii())
    for quantity, factor, spellings in _SPELLINGS:
        for spelling in spellings:
            yield Unit(spelling, quantity, Decimal(factor), spelling in _UCUM_MASSES)


UNITS: dict[str, Unit] = {unit.spelling: unit for unit in _units()}
"""All accepted spellings. Upper and lower case differ; a spelling that is not here, for example `MU/L`, is refused."""


def unit_named(text: str) -> Unit | None:
    """The unit with this spelling, also in letters of another width; `None` if it is not accepted."""
    return UNITS.get(text) or UNITS.get(_plain(text))


def same_unit(unit: str, other_unit: str) -> bool:
    """Whether two spellings mean the same unit."""
    if unit == other_unit:
        return True
    first, second = UNITS.get(unit), UNITS.get(other_unit)
    return (
        first is not None and second is not None and (first.quantity, first.factor) == (second.quantity, second.factor)
    )


def unit_alias_fault(alias: str, unit: str) -> FaultCode | None:
    """Why a study cannot declare that its laboratories write `alias` for `unit`; `None` if it can."""
    meant, known = unit_named(unit), unit_named(alias)
    if meant is None:
        return FaultCode.UNKNOWN_UNIT
    if known is not None and not same_unit(known.spelling, meant.spelling):
        return FaultCode.CONTRADICTION
    return None if _plain(alias) else FaultCode.MISSING


def _plain(text: str) -> str:
    return normalize("NFKC", text).strip()


INSTRUMENTS: dict[str, Instrument] = {
    instrument.code: instrument
    for instrument in (
        Instrument("MMT", None, None, "manual muscle test sum score as the study's protocol declares it"),
        Instrument("MMT8", 150, "higher", "manual muscle testing, 8 groups, bilateral with axial"),
        Instrument("MMT8_UNILATERAL", 80, "higher", "manual muscle testing, 8 groups, unilateral with axial"),
        Instrument("MMT26", 260, "higher", "manual muscle testing, 26 groups"),
        Instrument("ADL", None, None, "activities of daily living sum score as the study's protocol declares it"),
        Instrument("PHYSICIAN_GLOBAL", 10, "lower", "physician global disease activity, visual analogue scale", True),
        Instrument(
            "PATIENT_GLOBAL", 10, "lower", "patient or parent global disease activity, visual analogue scale", True
        ),
        Instrument("EXTRAMUSCULAR", 10, "lower", "extramuscular disease activity, visual analogue scale", True),
        Instrument("HAQ", 3, "lower", "health assessment questionnaire"),
        Instrument("CHAQ", 3, "lower", "childhood health assessment questionnaire"),
        Instrument("CMAS", 52, "higher", "childhood myositis assessment scale"),
    )
}

DAILY_MILLIGRAMS: dict[str, Decimal] = {
    "mg/d": Decimal(1),
    "g/d": Decimal(1000),
    "ug/d": Decimal("0.001"),
    "mg/wk": Decimal(1) / Decimal(7),
}
"""Medication units that give a daily dose. `mg/kg/d` needs the weight; the others a body surface or a frequency, which
are not sent.
"""


def in_canonical_unit(value: float, unit: Unit) -> float:
    """The value in the canonical unit of its quantity, by exact decimal arithmetic, rounded once at the end.

    A JSON number is read as the nearest binary float. The shortest decimal form of this float is the number as written,
    and this form is multiplied: 0.27 ukat/L is 16.2 U/L, not 16.200000000000003.
    """
    if unit.factor == 1:
        return value
    return float(Decimal(repr(value)) * unit.factor)


OWN_SYSTEM = "urn:myoresponse:codes"
"""The code system of our own short names of analytes and instruments."""
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
UCUM_NAMES = (UCUM, "urn:oid:2.16.840.1.113883.6.8", "UCUM")
"""UCUM as senders name it."""
ATC = "http://www.whocc.no/atc"

Product = Literal["IVIG"]
IVIG: Product = "IVIG"
Meaning = Literal[LabCode, AssessmentCode, Product]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)

PANELS: dict[str, tuple[LabCode, ...]] = {"24323-8": ("AST", "ALT"), "24325-3": ("AST", "ALT")}
"""LOINC codes of panels with results that are stored, and these results: the comprehensive metabolic panel and the
hepatic function panel.
"""
SYSTEMS: dict[str, str] = {
    LOINC: LOINC,
    "urn:oid:2.16.840.1.113883.6.1": LOINC,
    "LN": LOINC,
    "LOINC": LOINC,  # not a code of table 0396, but some senders write it
    ATC: ATC,
    "urn:oid:2.16.840.1.113883.6.73": ATC,
    "ATC": ATC,
    OWN_SYSTEM: OWN_SYSTEM,
    "99MYO": OWN_SYSTEM,
}
"""From the names in FHIR and HL7 v2 (table 0396) to the code systems known here."""

KNOWN: dict[tuple[str, str], str] = {
    **{(LOINC, loinc): analyte.code for analyte in ANALYTES.values() for loinc in analyte.loinc_codes},
    (ATC, "J06BA02"): IVIG,
    **{(OWN_SYSTEM, word): word for word in MEANINGS},
}
"""The codes that a study need not declare: LOINC codes of the analytes, ATC J06BA02 (immunoglobulins for intravascular
use), and our own codes.
"""

_OTHER_ISOENZYME = re.compile(r"(?<![a-z])(MB|MM|BB)(?![a-z])|CP?K[^a-z]?MB|CP?K(MM|BB)(?![a-z])", re.IGNORECASE)
_REFLEX = re.compile(
    r"(?:(?:w/|w\.|with|mit|avec|con|and)\W*)?\b(?:reflex|refl|rflx|rfx)\w*.*", re.IGNORECASE | re.DOTALL
)
"""From here on a title names the tests that may follow: `CK, Total w/ reflex to CK-MB` is total CK."""
_KINASE = r"(?:(?:ph|f)os(?:ph|f)o[\W_]*)?(?:k|c|ch|qu)in[aá][sz]\w*"
_TRANSFERASE = r"\w*[\W_]*(?:2[\W_]*oxoglutar\w*[\W_]*)?(?:amino[\W_]*)?trans(?:am|f)\w*"
_NAMES: dict[LabCode, tuple[str, str]] = {
    "CK": (r"CK|CPK", rf"[ck]r[eé]at[iy]n\w*?[\W_]*{_KINASE}|クレアチニ?ン・?(?:ホスホ|フォスフォ|リン酸)?キナーゼ"),
    "LDH": (
        r"LDH",
        r"la(?:ct|kt|tt)\w*?[\W_]*(?:acid[\W_]*)?d[eé]\w*?[iy]dr[oó]g[eéè]n\w*|d[eé]\w*?[iy]drog[eé]n\w*[\W_]*l[aá][ck]t\w*"
        r"|乳酸(?:脱水素|デヒドロゲナーゼ)",
    ),
    "AST": (
        r"S?GOT|ASA?T|TGO",
        rf"asparta{_TRANSFERASE}|glutam\w*[\W_]*ox\w*?[\W_]*trans\w*|transaminas\w* GO\b|アスパラギン酸",
    ),
    "ALT": (
        r"S?GPT|ALA?T|TGP",
        rf"alanin{_TRANSFERASE}|glutam\w*[\W_]*p[iy]ruv\w*[\W_]*trans\w*|transaminas\w* GP\b|アラニン",
    ),
    "ALDOLASE": (r"ALD", r"aldolas\w*|アルドラーゼ"),
    "MYOGLOBIN": (r"MYO", r"m[iy]oglob\w*|ミオグロビン"),
}
"""How laboratories name our tests, in Latin letters and in Japanese: abbreviations, and forms of the name."""
_WELL_KNOWN = (
    r"(?<![A-Za-z])(?:CRP|BUN|TSH|(?:G|γ|[Gg]amma)-?GTP?|LDL|HDL|ALP|(?:pro)?BNP|INR|PSA|ESR|GFR|eGFR|HbA1c)(?![A-Za-z])",
    r"creatinin|kreatinin|cr[eé]atinin|kreatynin|クレアチニン",
    r"(?<![a-z])(?:sodium|natrium|sodio|potassium|kalium|potas+io)(?!\W*(?:hep|[cz]itr|fluorid|edta|oxal))",
    r"ナトリウム|カリウム|クロール|カルシウム|マグネシウム",
    r"(?<![a-z])(?:chlorid|chlorure|cloruro|calcium|kalzium|calcio|magnesi|phosphorus)|inorganic phosph",
    r"(?<![a-z])(?:urea|urée|harnstoff|uric acid|acide urique|[aá]cido [uú]rico|urate|harnsäure)(?![a-z])|尿酸|尿素",
    r"(?<![a-z])gl(?:u[ck]os|ic[eé]mi|yc[eé]mi)(?!\w*\W*6)|グルコース|血糖",
    r"(?<!pyruvate to )(?<![a-z])(?:lactate|lactic acid|laktat|lactato|lattato)(?! to pyruvate)(?![a-z])|乳酸",
    r"(?<![a-z])(?:pre)?album[iy]n|アルブミン|total protein|gesamteiwei|総蛋白|c[\W_]*rea[ck]ti\w* protein",
    r"bilirubin|ビリルビン|phosphatas|fosfatas|ホスファターゼ|glutamyl|アミラーゼ|リパーゼ|cholinesteras",
    r"(?<![a-z])(?:amylas|amilas|lipas|ferritin|transferrin|ammonia|insulin|cortisol|aldosteron|renin)",
    r"tropo?nin|トロポニン|natriuretic|d-dimer|fibrinogen|pro(?:thrombin|calcitonin)|th?yro[tx]",
    r"cholesterol|kolesterol|colesterol|コレステロール|trigl[iy][cz]er|中性脂肪",
    r"(?<![a-z])ha?emoglob|(?<![a-z])hämoglob|(?<![a-z])hémoglob|ヘモグロビン|ha?ematocrit|leu[ck]ocyt|erythrocyt|platelet",
)
"""Other well-known tests. A sodium or potassium salt in a tube is not one."""
_LONGEST_TITLE = 400


def _abbreviation(forms: str) -> str:
    return rf"(?<![A-Za-z])(?:{forms})(?![A-Za-z])"


# Both are compiled with the first title that is read: together they take 3 % of a start.
@cache
def _own_name(code: str) -> re.Pattern[str]:
    short, name = _NAMES[cast("LabCode", code)]
    return re.compile(f"(?i:{_abbreviation(short)}|{name})")


@cache
def _other_name(code: str) -> re.Pattern[str]:
    return re.compile(
        "|".join(
            [f"{_abbreviation(short)}|(?i:{name})" for other, (short, name) in _NAMES.items() if other != code]
            + [_WELL_KNOWN[0]]
            + [f"(?i:{name})" for name in _WELL_KNOWN[1:]]
        )
    )


def names_another_test(code: str, text: str) -> bool:
    """Whether the title of a result names another test than our code: another isoenzyme, or a well-known other test.

    It is read after NFKC normalisation, because Japanese systems write CK-MB in full-width letters. Abbreviations of
    other tests count in capital letters only: `alt` is also a word. The title of a score is not read. Of a very long
    title the end is searched for isoenzymes only.
    """
    if code not in _NAMES:
        return False
    title = normalize("NFKC", text)
    before = title[: match.start()] if (match := _REFLEX.search(title)) else title
    if _own_name(code).search(before[:_LONGEST_TITLE]):
        title = before
    if code == "CK" and _OTHER_ISOENZYME.search(title):
        return True
    return _other_name(code).search(_own_name(code).sub(" ", title[:_LONGEST_TITLE])) is not None


def analyte_named(text: str) -> LabCode | None:
    """The only one of our laboratory codes that the title of a result names, if it names no other test."""
    title = normalize("NFKC", text)[:_LONGEST_TITLE]
    named = [code for code in _NAMES if _own_name(code).search(title) and not names_another_test(code, text)]
    return named[0] if len(named) == 1 else None


class Coding(NamedTuple):
    """A code as a feed gives it: its system, the code, and its text."""

    system: str | None
    code: str | None
    text: str | None = None


class CodeBook:
    """The codes and units that the feeds of a study may use: the known ones and those that the study declares.

    `local_codes` are written `system|code`. `unit_aliases` gives for a spelling of the study's laboratories the
    accepted unit that they mean.
    """

    def __init__(
        self, local_codes: Mapping[str, str] | None = None, unit_aliases: Mapping[str, str] | None = None
    ) -> None:
        self._local = dict(local_codes or {})
        self._units = {_plain(alias): unit for alias, unit in (unit_aliases or {}).items()}
        self._read: dict[tuple[Coding, ...], str | FaultCode | None] = {}

    def meaning(self, codings: Sequence[Coding], text: str | None = None) -> str | FaultCode | None:
        """The common meaning of the codings of one thing, one of `MEANINGS`.

        `None` if no coding has a known meaning. A fault if they contradict each other, or if a text (of a coding, or
        `text`) names another test.
        """
        key = (*codings, Coding(None, None, text))
        if key not in self._read:
            if len(self._read) > 4_096:
                self._read.clear()
            self._read[key] = self._meaning(key)
        return self._read[key]

    def _meaning(self, codings: Sequence[Coding]) -> str | FaultCode | None:
        words = [self._word(coding) for coding in codings]
        meaning = next(filter(None, words), None)
        if meaning is None:
            return None
        for word, coding in zip(words, codings, strict=True):
            if word not in {meaning, None} or (word is None and SYSTEMS.get(coding.system or "") == LOINC):
                return FaultCode.CODE_CONFLICT  # another LOINC code always is another test
            if coding.text and names_another_test(meaning, coding.text):
                return FaultCode.CODE_CONFLICT
        return meaning

    def unit(self, text: str | None) -> str | None:
        """The accepted spelling of a unit that a message names; a text that is no accepted unit stays as it is."""
        if text is None or text in UNITS:
            return text
        unit = unit_named(text) or unit_named(self._units.get(_plain(text), ""))
        return text if unit is None else unit.spelling

    def declares_unit(self, text: str) -> bool:
        """Whether the study declares what this spelling means."""
        return _plain(text) in self._units

    def _word(self, coding: Coding) -> str | None:
        if coding.code is None:
            return None
        declared = self._local.get(f"{coding.system or ''}|{coding.code}")
        if declared is not None:
            return declared
        system = SYSTEMS.get(coding.system or "")
        return KNOWN.get((system, coding.code)) if system is not None else None
