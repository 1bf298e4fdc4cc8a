"""Reads the rows of a table of laboratory results: codes and units as the study declares them, limits and bounds."""

import re
from collections.abc import Mapping
from typing import Any

from app.errors import FaultCode
from app.readers.limits import UNREADABLE, NormalLimits, joined_limits, read_limits
from app.readers.pseudonyms import no_number
from app.readers.statements import Feed, Place, Skipped, Statement, history_of
from app.readers.suggestions import unknown_code
from app.readers.table_cells import CellReader, Trouble, number_or_trouble
from app.readers.table_kinds import COLUMNS_OF
from app.timeline.accepts import accepted_by
from app.timeline.document import LabResult
from app.timeline.facts import FIELDS
from app.timeline.receipts import Note, SentFact
from app.timeline.vocabulary import LAB_CODE_OF, LAB_CODES, OWN_SYSTEM, STATUSES, WITHDRAWN, Coding

CONTENT = frozenset({"value", "unit", "comparator", "lower_limit", "upper_limit"})
"""The fields of a result that a withdrawal, or a result that is a word, does not need."""
LIMITS = frozenset({"upper_limit", "lower_limit"})

_AS_SENT = [field for field in FIELDS["labs"] if field.name in COLUMNS_OF["labs"]]
_NUMBER_CELLS = [field.name for field in _AS_SENT if field.type is float]
_TEXT_CELLS = [field.name for field in _AS_SENT if field.type is str and field.name not in {"code", "time", "id"}]
_BOUND = re.compile(r"(<=|>=|<|>) *")


def is_word(value: str) -> bool:
    """Whether the text of a result is a word such as `HEMOLYZED`, and not a number or a word for a missing one."""
    return any(map(str.isalpha, value)) and not any(map(str.isnumeric, value)) and no_number(value) is None


def without_number(statement: Statement) -> Statement:
    """The statement of a result that is a word. It may outrank a number, and its place is the cell of the word."""
    fields = {name: value for name, value in statement.fields.items() if name not in CONTENT}
    base, places = statement.place
    return Statement("labs", fields, Place(base, {**places, "": places["value"]}), no_number=True)


class LabRows:
    """Reads rows with one result each."""

    def __init__(self, feed: Feed, cells: CellReader) -> None:
        self._feed, self._cells = feed, cells

    def skipped(self, given: Mapping[str, str]) -> Skipped | None:
        """A row of another test is not ours, and a result without a value has no meaning, unless it is withdrawn."""
        if "code" in given:
            meaning = self._meaning(given)
            if meaning is None or not (isinstance(meaning, FaultCode) or meaning in LAB_CODES):
                return "code"
        status = given.get("status", "final")
        return "value" if "value" not in given and status in STATUSES and status not in WITHDRAWN else None

    def not_ours(self, given: Mapping[str, str], reason: Skipped) -> SentFact:
        """What the code of another test might mean, and the source."""
        coding = Coding(given.get("code_system"), given.get("code"), given.get("code_text"))
        sent = unknown_code((coding,), given.get("unit")) if reason == "code" else SentFact("")
        return sent._replace(source=given.get("source", given.get("lab")))

    def statement(self, given: Mapping[str, str], place: Place) -> tuple[Statement, dict[str, Trouble]]:
        """The statement of a row, and the troubles of its cells."""
        read: dict[str, Any] = {"code": self._meaning(given)}
        read |= {"status": "final"} | {name: given[name] for name in _TEXT_CELLS if name in given}
        read["time"] = self._cells.time(given["time"]) if "time" in given else Trouble(FaultCode.MISSING)
        if "issued" in given:
            read["issued"] = self._cells.time(given["issued"])
        for name in _NUMBER_CELLS:
            if name in given:
                read |= self._bounded(given) if name == "value" else {name: self._cells.number(given[name])}
        if "version" in given:
            read["version"] = self._cells.whole(given["version"], accepted_by(LabResult, ("version",)))
        if "id" in given:
            number = self._feed.pseudonyms.number(given.get("source", given.get("lab")), given["id"])
            read["id"] = number_or_trouble(number, given["id"], no_number)
        if "unit" in read:
            read["unit"] = self._feed.codes.unit(read["unit"])
        if read["status"] in WITHDRAWN:
            read = self._without_bad_content(read, place)
        fields, troubles = _readable_fields(read)
        notes = self._check_limits(fields, given.get("reference_range", ""))
        return Statement("labs", fields, place, notes), troubles

    def _check_limits(self, fields: dict[str, Any], text: str) -> tuple[Note, ...]:
        """Complete the limits by the text of the range; limits that cannot be read are left out and noted."""
        limits = NormalLimits(fields.get("lower_limit"), fields.get("upper_limit"))
        if limits.lower is not None and limits.upper is not None and limits.lower > limits.upper:
            limits = UNREADABLE
        if text:
            stated = read_limits(text, fields.get("unit"), self._feed.codes, self._cells.dialect.decimal)
            limits = joined_limits(limits, stated)
        fields |= {"lower_limit": limits.lower, "upper_limit": limits.upper}
        return limits.notes

    def _meaning(self, given: Mapping[str, str]) -> str | FaultCode | None:
        """The meaning of the code of a row. A code without a system is ours or LOINC, as in our own format."""
        if "code" not in given:
            return FaultCode.MISSING
        system, code = given.get("code_system"), given["code"]
        if system is None and code in LAB_CODE_OF:
            system, code = OWN_SYSTEM, LAB_CODE_OF[code]
        return self._feed.codes.meaning([Coding(system, code, given.get("code_text"))])

    def _without_bad_content(self, read: dict[str, Any], place: Place) -> dict[str, Any]:
        """A withdrawal without its value, unit and limits, if these have faults: it needs its number, code and time."""
        fields, troubles = _readable_fields(read)
        found = history_of("P", [Statement("labs", fields, place)], self._feed.latest)[1]
        content = {place.of(name) for name in CONTENT}
        if CONTENT.isdisjoint(troubles) and content.isdisjoint(fault.pointer for fault in found):
            return read
        return {name: value for name, value in read.items() if name not in CONTENT}

    def _bounded(self, given: Mapping[str, str]) -> dict[str, Any]:
        """The value, and the comparator if it is written before the value."""
        bound = _BOUND.match(given["value"])
        if bound is None:
            return {"value": self._cells.number(given["value"])}
        comparator = Trouble(FaultCode.REPEATED_VALUE) if "comparator" in given else bound[1]
        return {"value": self._cells.number(given["value"][bound.end() :]), "comparator": comparator}


def _readable_fields(read: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Trouble]]:
    """The fields that could be read, and the troubles of the others."""
    troubles = {
        name: value if isinstance(value, Trouble) else Trouble(value)
        for name, value in read.items()
        if isinstance(value, Trouble | FaultCode)
    }
    if not troubles:
        return read, troubles
    fields = {name: value for name, value in read.items() if name not in troubles}
    if "code" in troubles:
        fields |= {"code": "CK", "unit": "U/L"}  # without a known code, the unit cannot be checked
    if "time" in troubles:
        fields["time"] = "2000-01-01"
    if "value" in troubles:
        fields["value"] = 0.0
    return fields, troubles
