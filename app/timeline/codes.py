"""What the codes of feeds mean: a code counts only together with its system.

LOINC 2157-6 is creatine kinase; in the race and ethnicity codes of the CDC the same digits are a people of Guatemala.
And a laboratory may code a CK-MB result as total CK, so that only its text gives it away: a text that names another
isoenzyme vetoes the code.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args
from unicodedata import normalize

from app.errors import FaultCode
from app.timeline.vocabulary import ANALYTES, AssessmentCode, LabCode

OWN_SYSTEM = "urn:myoresponse:codes"
"""The system of our own short names, of analytes and of assessments."""
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
    "LOINC": LOINC,  # no code of table 0396, and still what some senders write
    ATC: ATC,
    "urn:oid:2.16.840.1.113883.6.73": ATC,
    "ATC": ATC,
    OWN_SYSTEM: OWN_SYSTEM,
    "99MYO": OWN_SYSTEM,
}
"""The names under which FHIR and HL7 v2 (table 0396) know a system that we do."""

KNOWN: dict[tuple[str, str], str] = {
    **{(LOINC, analyte.loinc): analyte.code for analyte in ANALYTES.values()},
    (ATC, "J06BA02"): IVIG,
    **{(OWN_SYSTEM, word): word for word in MEANINGS},
}
"""What needs no declaration: LOINC codes of the analytes, ATC J06BA02 (immunoglobulins for intravascular use), our own.
"""

_OTHER_ISOENZYME = re.compile(r"(?<![a-z])(MB|MM|BB)(?![a-z])|CP?K[^a-z]?MB|CP?K(MM|BB)(?![a-z])", re.IGNORECASE)
"""Looked for after NFKC normalisation: Japanese systems write CK-MB in letters of full width."""


class Coding(NamedTuple):
    """A code as a feed gives it: its system, the code, and the text beside it."""

    system: str | None
    code: str | None
    text: str | None = None


class CodeBook:
    """The codes that a study's feeds may use: the known ones and those that the study declares (`system|code`)."""

    def __init__(self, local_codes: Mapping[str, str] | None = None) -> None:
        self._local = dict(local_codes or {})
        self._read: dict[tuple[Coding, ...], str | FaultCode | None] = {}

    def meaning(self, codings: Sequence[Coding], text: str | None = None) -> str | FaultCode | None:
        """Our word for what these codings of one thing say together, one of `MEANINGS`.

        `None`: nothing that is kept. A fault where they contradict each other, or where a text (of a coding, or
        `text` beside them) says that what is coded as CK is another isoenzyme.
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
                return FaultCode.CODE_CONFLICT  # LOINC is complete: a code of it that is another is another test
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
