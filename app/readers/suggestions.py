"""What unknown codes, units and character sets might mean: proposals for a study to declare. No reader uses them."""

import re
from unicodedata import normalize

from app.readers.charsets import CHARSETS, Charset
from app.timeline.vocabulary import UNITS, LabCode

_TITLES: dict[LabCode, str] = {
    "CK": r"\b(CK|CPK|NAC)\b|creatine? ?(phospho)?kinase|creatinkinase|kreatinkinase|クレアチンキナーゼ",
    "LDH": r"\b(LDH?|LD-?P)\b|lactate dehydrogenase|laktatdehydrogenase|乳酸脱水素酵素",
    "AST": r"\b(AST|GOT|S?GOT|ASAT)\b|aspartate (amino)?trans(amin|fer)ase",
    "ALT": r"\b(ALT|GPT|S?GPT|ALAT)\b|alanine (amino)?trans(amin|fer)ase",
    "ALDOLASE": r"\baldolase\b|アルドラーゼ",
    "MYOGLOBIN": r"\bmyoglobine?\b|ミオグロビン",
}
_ANOTHER_TEST = re.compile(
    r"\b(MB|MM|BB)\b|CK-?MB|iso-?(en)?zyme|isoform|fraction|ratio|quotient|mass|macro|urine?|urin\b|csf|liquor|fluid|pleural|"
    r"ascites|stool|electrophoresis|antibod",
    re.IGNORECASE,
)
_ACTIVITY = frozenset(spelling for spelling, unit in UNITS.items() if unit.quantity == "activity")
_MASS = frozenset(spelling for spelling, unit in UNITS.items() if unit.quantity == "mass")
_PLAIN_CHARSETS = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in CHARSETS}
_CHARSETS: dict[str, Charset] = _PLAIN_CHARSETS | {
    "ascii": "US-ASCII", "latin1": "ISO-8859-1", "88591": "ISO-8859-1", "latin9": "ISO-8859-15",
    "885915": "ISO-8859-15", "cp1252": "windows-1252", "1252": "windows-1252", "win1252": "windows-1252",
    "ansi": "windows-1252", "unicodeutf8": "UTF-8", "utf": "UTF-8", "sjis": "Shift_JIS",
    "ms932": "Shift_JIS", "cp932": "Shift_JIS",
}  # fmt: skip


def meaning_like(title: str | None, unit: str | None) -> LabCode | None:
    """The analyte that the title of an unknown code names, if its unit does not contradict that."""
    title = normalize("NFKC", title or "")
    if _ANOTHER_TEST.search(title):
        return None
    named = [code for code, pattern in _TITLES.items() if re.search(pattern, title, re.IGNORECASE)]
    if len(named) != 1 or (unit is not None and unit not in (_MASS if named == ["MYOGLOBIN"] else _ACTIVITY)):
        return None
    return named[0]


def unit_like(spelling: str) -> str | None:
    """The unit that an unknown spelling resembles: the same letters, whatever their case, width and blanks.

    Two units that differ by a factor and would be written alike are not proposed.
    """
    if spelling in UNITS:
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
