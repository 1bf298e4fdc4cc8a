"""The codes, units and instruments that a timeline may use, and the code book of a study's feeds.

Only this module translates other spellings into ours. A code or unit that is not in its tables is refused. Sources:
LOINC (the codes in `Analyte.loinc`); UCUM (unit codes; `kat` = 1 mol/s and `U` = 1 umol/min, so that 1 ukat/L is
exactly 60 U/L and 1 nkat/L exactly 0.06 U/L). In UCUM the international unit is an arbitrary unit, which software does
not convert. Laboratories write it for U in enzyme activities, so its spellings are explicit aliases here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple, get_args
from unicodedata import normalize

from app.errors import FaultCode

LabCode = Literal["CK", "LDH", "AST", "ALT", "ALDOLASE", "MYOGLOBIN"]
Loinc = Literal["2157-6", "2532-0", "1920-8", "1742-6", "1761-6", "2639-3"]
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
MedicationUnit = Literal["mg/d", "g/d", "mg/wk", "mg/kg/d", "mg/m2", "mg/kg", "mg", "g"]

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
    """A laboratory test: short name, LOINC code, the quantity that it measures, and the canonical unit."""

    code: LabCode
    loinc: Loinc
    quantity: Quantity
    unit: str
    name: str


@dataclass(frozen=True, slots=True)
class Unit:
    """An accepted spelling of a unit, its quantity, and the exact factor to the canonical unit of that quantity."""

    spelling: str
    quantity: Quantity
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument: its range and which end is better. If they are `None`, the protocol declares them."""

    code: AssessmentCode
    maximum: float | None
    better: Direction | None
    name: str


ANALYTES: dict[str, Analyte] = {
    analyte.code: analyte
    for analyte in (
        Analyte("CK", "2157-6", "activity", "U/L", "creatine kinase, enzymatic activity in serum or plasma"),
        Analyte("LDH", "2532-0", "activity", "U/L", "lactate dehydrogenase, enzymatic activity in serum or plasma"),
        Analyte(
            "AST", "1920-8", "activity", "U/L", "aspartate aminotransferase, enzymatic activity in serum or plasma"
        ),
        Analyte("ALT", "1742-6", "activity", "U/L", "alanine aminotransferase, enzymatic activity in serum or plasma"),
        Analyte("ALDOLASE", "1761-6", "activity", "U/L", "aldolase, enzymatic activity in serum or plasma"),
        Analyte("MYOGLOBIN", "2639-3", "mass", "ug/L", "myoglobin, mass concentration in serum or plasma"),
    )
}

LAB_CODE_OF: dict[str, LabCode] = {
    spelling: analyte.code for analyte in ANALYTES.values() for spelling in (analyte.code, analyte.loinc)
}
"""From short name or LOINC code to short name. Only our own format accepts a LOINC code without its system."""

_SPELLINGS: tuple[tuple[Quantity, str, tuple[str, ...]], ...] = (
    (
        "activity",
        "1",
        (
            "U/L",
            "U/l",
            "u/L",
            "u/l",
            "IU/L",
            "IU/l",
            "iu/L",
            "iu/l",
            "[IU]/L",
            "[iU]/L",
            "[IU]/l",
            "[iU]/l",
            "unit/L",
            "units/L",
            "Unit/L",
            "Units/L",
            "mU/mL",
            "mU/ml",
            "mIU/mL",
            "mIU/ml",
            "m[IU]/mL",
            "m[iU]/mL",
        ),
    ),
    ("activity", "1000", ("U/mL", "U/ml", "IU/mL", "IU/ml", "[IU]/mL", "[iU]/mL")),
    ("activity", "60", ("ukat/L", "ukat/l", "\u00b5kat/L", "\u00b5kat/l", "\u03bckat/L", "\u03bckat/l")),
    ("activity", "0.06", ("nkat/L", "nkat/l")),
    (
        "mass",
        "1",
        (
            "ug/L",
            "ug/l",
            "\u00b5g/L",
            "\u00b5g/l",
            "\u03bcg/L",
            "\u03bcg/l",
            "mcg/L",
            "mcg/l",
            "ng/mL",
            "ng/ml",
            "NG/ML",
        ),
    ),
)
UNITS: dict[str, Unit] = {
    spelling: Unit(spelling, quantity, Decimal(factor))
    for quantity, factor, spellings in _SPELLINGS
    for spelling in spellings
}
"""All accepted spellings: a list of what laboratories send, without a rule. Upper and lower case differ; a spelling
that is not here, for example `UKAT/L`, is refused.
"""

INSTRUMENTS: dict[str, Instrument] = {
    instrument.code: instrument
    for instrument in (
        Instrument("MMT", None, None, "manual muscle test sum score as the study's protocol declares it"),
        Instrument("MMT8", 150, "higher", "manual muscle testing, 8 groups, bilateral with axial"),
        Instrument("MMT8_UNILATERAL", 80, "higher", "manual muscle testing, 8 groups, unilateral with axial"),
        Instrument("MMT26", 260, "higher", "manual muscle testing, 26 groups"),
        Instrument("ADL", None, None, "activities of daily living sum score as the study's protocol declares it"),
        Instrument("PHYSICIAN_GLOBAL", 10, "lower", "physician global disease activity, visual analogue scale"),
        Instrument("PATIENT_GLOBAL", 10, "lower", "patient or parent global disease activity, visual analogue scale"),
        Instrument("EXTRAMUSCULAR", 10, "lower", "extramuscular disease activity, visual analogue scale"),
        Instrument("HAQ", 3, "lower", "health assessment questionnaire"),
        Instrument("CHAQ", 3, "lower", "childhood health assessment questionnaire"),
        Instrument("CMAS", 52, "higher", "childhood myositis assessment scale"),
    )
}

DAILY_MILLIGRAMS: dict[str, Decimal] = {"mg/d": Decimal(1), "g/d": Decimal(1000), "mg/wk": Decimal(1) / Decimal(7)}
"""Medication units that give a daily dose. The others need a weight, body surface or frequency, which is not sent."""


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
ATC = "http://www.whocc.no/atc"

Product = Literal["IVIG"]
IVIG: Product = "IVIG"
Meaning = Literal[LabCode, AssessmentCode, Product]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)

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
    **{(LOINC, analyte.loinc): analyte.code for analyte in ANALYTES.values()},
    (ATC, "J06BA02"): IVIG,
    **{(OWN_SYSTEM, word): word for word in MEANINGS},
}
"""The codes that a study need not declare: LOINC codes of the analytes, ATC J06BA02 (immunoglobulins for intravascular
use), and our own codes.
"""

_OTHER_ISOENZYME = re.compile(r"(?<![a-z])(MB|MM|BB)(?![a-z])|CP?K[^a-z]?MB|CP?K(MM|BB)(?![a-z])", re.IGNORECASE)
"""Applied after NFKC normalisation, because Japanese systems write CK-MB in full-width letters."""


class Coding(NamedTuple):
    """A code as a feed gives it: its system, the code, and its text."""

    system: str | None
    code: str | None
    text: str | None = None


class CodeBook:
    """The codes that the feeds of a study may use: the known ones and those that the study declares (`system|code`)."""

    def __init__(self, local_codes: Mapping[str, str] | None = None) -> None:
        self._local = dict(local_codes or {})
        self._read: dict[tuple[Coding, ...], str | FaultCode | None] = {}

    def meaning(self, codings: Sequence[Coding], text: str | None = None) -> str | FaultCode | None:
        """The common meaning of the codings of one thing, one of `MEANINGS`.

        `None` if no coding has a known meaning. A fault if they contradict each other, or if a text (of a coding, or
        `text`) names another isoenzyme although the code is CK.
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
            if meaning == "CK" and coding.text and _OTHER_ISOENZYME.search(normalize("NFKC", coding.text)):
                return FaultCode.CODE_CONFLICT
        return meaning

    def _word(self, coding: Coding) -> str | None:
        if coding.code is None:
            return None
        declared = self._local.get(f"{coding.system or ''}|{coding.code}")
        if declared is not None:
            return declared
        system = SYSTEMS.get(coding.system or "")
        return KNOWN.get((system, coding.code)) if system is not None else None
