"""What unknown codes, units and character sets might mean: proposals for a study to declare. No reader uses them."""

import json
import re
from functools import lru_cache
from typing import Any, NamedTuple
from unicodedata import normalize

from app.readers.charsets import CHARSETS, Charset
from app.timeline.receipts import SentFact
from app.timeline.vocabulary import ANALYTES, LOINC, SYSTEMS, UNITS, Coding, LabCode, analyte_named, unit_named

_ANOTHER_MATERIAL = re.compile(
    r"iso-?(en)?zym|isoform|fra[ck]tion|ratio|quotient|mass|macro|urin|csf|liquor|fluid|pleural|ascites|stool|electrophoresis"
    r"|antibod|尿|髄液",
    re.IGNORECASE,
)
_PLAIN_CHARSETS = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in CHARSETS}
_CHARSETS: dict[str, Charset] = _PLAIN_CHARSETS | {
    "ascii": "US-ASCII", "latin1": "ISO-8859-1", "88591": "ISO-8859-1", "latin9": "ISO-8859-15",
    "885915": "ISO-8859-15", "cp1252": "windows-1252", "1252": "windows-1252", "win1252": "windows-1252",
    "ansi": "windows-1252", "unicodeutf8": "UTF-8", "utf": "UTF-8", "sjis": "Shift_JIS",
    "ms932": "Shift_JIS", "cp932": "Shift_JIS",
}  # fmt: skip


PROPOSALS = "proposals"
"""The name of proposals in JSON, also among the members of the refusal of a rehearsal."""


class Proposal(NamedTuple):
    """What the study could declare. `value` is as `PUT` of the study takes it; `None`: a person must choose it."""

    declaration: str
    value: Any
    times: int

    @property
    def document(self) -> dict[str, Any]:
        """The proposal as JSON, the same in every format."""
        return {"declaration": self.declaration, "value": self.value, "count": self.times}


def in_words(declaration: str, value: object) -> str:
    """A proposal in words."""
    if value is None:
        return f"More could count if the study declared {declaration}."
    shown = json.dumps(value, ensure_ascii=False)
    return f"More could count if this is true and the study declares it: {declaration} {shown}."


def meaning_like(title: str | None, unit: str | None) -> LabCode | None:
    """The analyte that the title of an unknown code names, if its unit does not contradict that."""
    if title is None or _ANOTHER_MATERIAL.search(normalize("NFKC", title)):
        return None
    code = analyte_named(title)
    known = unit_named(unit) if unit is not None else None
    contradicts = unit is not None and code is not None and (known is None or known.quantity != ANALYTES[code].quantity)
    return None if contradicts else code


@lru_cache(maxsize=4_096)
def unknown_code(codings: tuple[Coding, ...], unit: str | None) -> SentFact:
    """What is known of a result with a code that is not ours. A LOINC code always is another test."""
    coding = next((coding for coding in codings if coding.code), None)
    if coding is None:
        return SentFact("")
    title = next((each.text for each in codings if each.text), None)
    suggests = None if SYSTEMS.get(coding.system or "") == LOINC else meaning_like(title, unit)
    return SentFact("", word=f"{coding.system or ''}|{coding.code}", suggests=suggests)


def unit_like(spelling: str) -> str | None:
    """The unit that an unknown spelling resembles: the same letters, whatever their case, width and blanks.

    Two units that differ by a factor and would be written alike are not proposed.
    """
    if unit_named(spelling) is not None or spelling.startswith("M"):  # milli or mega
        return None
    plain = _plain(spelling)
    alike = {UNITS[known].factor: known for known in reversed(UNITS) if _plain(known) == plain}
    return next(iter(alike.values())) if len(alike) == 1 else None


def _plain(spelling: str) -> str:
    """A spelling without case, brackets, blanks and marks; E (Einheit, Enzym) and UI and IE are read as U and IU."""
    letters = re.sub(r"[\s\[\].·]", "", normalize("NFKC", spelling)).casefold().replace("\u2044", "/")
    letters = letters.replace("units", "u").replace("unit", "u").replace("\u03bc", "u")
    return re.sub(r"^([mk]?)(e|ui|ie|iu)/", r"\1u/", letters)


def charset_like(name: str) -> Charset | None:
    """The character set that an unknown name resembles."""
    return _CHARSETS.get(re.sub(r"[^a-z0-9]", "", name.lower()))
