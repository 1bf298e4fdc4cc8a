"""Receipts as FHIR writes them: issues of an OperationOutcome, tags of a resource, and counts in an extension."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import SENTENCES, FaultCode
from app.fhir.operation_outcome import FAULT_SYSTEM, ISSUE_TYPE_OF, SKIPPED_SYSTEM, Severity, issue
from app.readers.statements import Skipped
from app.timeline.receipts import (
    DISPOSITIONS,
    NOT_KEPT,
    NOTES,
    AffectedFact,
    Disposition,
    Note,
    NotKept,
    Receipt,
    ReceiptLine,
)

NOTE_SYSTEM = "urn:myoresponse:notes"
"""The system of the codes of notes."""
NOT_KEPT_SYSTEM = "urn:myoresponse:not-kept"
"""The system of the reasons for which the ledger does not let a fact count."""
DISPOSITION_SYSTEM = "urn:myoresponse:dispositions"
AFFECTED_SYSTEM = "urn:myoresponse:affected"
"""The system of `counts` and `no-longer-counts`, of other facts."""
COUNTS = "urn:myoresponse:extension:receipt"
"""The extension with the number of facts of each disposition."""

_ISSUE_TYPES = {
    Disposition.KEPT: "informational",
    Disposition.NOT_APPLIED: "business-rule",
    Disposition.SET_ASIDE: "business-rule",
    Disposition.NOT_OURS: "not-supported",
    Disposition.REFUSED: "invalid",
}
_WHY_SKIPPED: dict[Skipped, str] = {
    "resource": "Not kept: resources of this kind are not.",
    "code": "Not kept: nothing with this code is.",
    "status": "Not kept: this status says that there is nothing yet, or nothing any more.",
    "value": "Not kept: values of this kind are not.",
    "segment": "Not kept.",
    "order": "Not kept: it is a proposal, a plan or an option, or it says that the drug shall not be given.",
    "route": "Not kept: this drug is given to one place of the body only.",
}
_REASONS: dict[str, tuple[str, str, str | None]] = {
    **{reason: (NOT_KEPT_SYSTEM, text, None) for reason, text in NOT_KEPT.items()},
    NotKept.NOT_A_NUMBER: (NOT_KEPT_SYSTEM, NOT_KEPT[NotKept.NOT_A_NUMBER], "value"),
    **{code: (FAULT_SYSTEM, SENTENCES[code], ISSUE_TYPE_OF[code]) for code in FaultCode},
    **{why: (SKIPPED_SYSTEM, text, None) for why, text in _WHY_SKIPPED.items()},
}
"""For each reason the system of its code, its sentence, and the issue type if it is not that of the disposition."""


def receipt_issues(receipt: Receipt) -> list[dict[str, Any]]:
    """One issue for each thing that a receipt says about a fact, in the order of the facts."""
    return [each for line in receipt.lines for each in _of_line(line)]


def tags_of(issues: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What issues say, as tags of the resource that was sent: each code once for each sentence."""
    tags = [{**each["details"]["coding"][0], "display": each["details"]["text"]} for each in issues]
    return [tag for i, tag in enumerate(tags) if tag not in tags[:i]]


def counts_extension(counts: Mapping[Disposition, int]) -> list[dict[str, Any]]:
    """The number of facts of each disposition, for `extension`."""
    numbers = [{"url": each.value, "valueInteger": counts.get(each, 0)} for each in Disposition]
    return [{"url": COUNTS, "extension": numbers}]


def _of_line(line: ReceiptLine) -> Iterator[dict[str, Any]]:
    place, disposition = line.place, line.disposition
    if disposition is not Disposition.KEPT or not (line.notes or line.affects):
        system, text, kind = _REASONS.get(line.reason or "", (DISPOSITION_SYSTEM, DISPOSITIONS[disposition], None))
        if line.accepts is not None:
            text = f"{text} {line.accepts.words}"
        severity: Severity = "information" if disposition is Disposition.KEPT else "warning"
        yield issue(
            severity,
            kind or _ISSUE_TYPES[disposition],
            text,
            place=place,
            codings=[(system, line.reason or disposition), *_also(line.reason, disposition)],
        )
    for note in line.notes:
        codings = [(NOTE_SYSTEM, str(note.code)), (DISPOSITION_SYSTEM, str(disposition))]
        yield issue("information", "informational", _sentence(note), place=place, codings=codings)
    for fact in line.affects:
        effect = "counts" if fact.stands else "no-longer-counts"
        yield issue("information", "informational", _effect(fact), place=place, codings=[(AFFECTED_SYSTEM, effect)])


def _also(reason: str | None, disposition: Disposition) -> list[tuple[str, str]]:
    return [] if reason is None else [(DISPOSITION_SYSTEM, disposition)]


def _sentence(note: Note) -> str:
    text = NOTES[note.code]
    return text if note.about is None else f"{text.removesuffix('.')}: {note.about}."


def _effect(fact: AffectedFact) -> str:
    named = ", ".join(part for part in (fact.section, fact.code, fact.time) if part is not None)
    return f"Another fact {'counts' if fact.stands else 'does not count any more'}: {named}."
