"""Makes the receipt of a history from what its reader and the ledger say of its facts."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from app.errors import FaultCode
from app.readers.statements import Skipped
from app.store.fates import Fate
from app.store.ledger import Outcome
from app.store.worklist import described
from app.timeline.facts import History
from app.timeline.receipts import Disposition, Note, NoteCode, Receipt, ReceiptLine, SentFact

_NEW = (Note(NoteCode.NEW_PATIENT),)
_UNCHANGED = (Note(NoteCode.UNCHANGED),)


def receipt_of(history: History, outcome: Outcome, *, full: bool = False) -> Receipt:
    """The receipt of a history. It has a line for each fact that is not plainly kept; with `full`, for each fact.

    A fact that stood before is plainly kept. The note `new_patient`, and the note of a detail of the patient or of the
    message that was left out, stand in lines of their own, which are not counted.
    """
    new = (
        [ReceiptLine(history.place("patient", 0), Disposition.KEPT, None, _NEW)] if outcome.status == "created" else []
    )
    counts: Counter[Disposition] = Counter()
    counts[Disposition.KEPT] = history.repeats + sum([len(facts) for _, facts in history.kinds()])
    if not (full or outcome.fates or history.notes or history.aside):
        return Receipt(counts, new)
    lines = new
    for kind, facts in history.kinds():
        fates = {fate.at: fate for fate in outcome.fates if fate.kind == kind}
        listed = range(len(facts)) if full else sorted(fates.keys() | {at for of, at in history.notes if of == kind})
        for at in listed:
            line = _line(history, kind, at, fates.get(at))
            if line.disposition is not Disposition.KEPT:
                counts[Disposition.KEPT] -= 1
                counts[line.disposition] += 1
            if full or line.disposition is not Disposition.KEPT or line.affects or line.notes not in ((), _UNCHANGED):
                lines.append(line)
    counts.update(line.disposition for line in history.aside if line.disposition is not Disposition.KEPT)
    return Receipt(counts, (*lines, *history.aside))


def only_aside(history: History) -> History:
    """The history of a patient whom a feed may not add to the study: each fact is set aside, or the patient alone."""
    lines = []
    for kind, facts in history.kinds():
        for at, fact in enumerate(facts):
            sent = described(kind, fact, history.place(kind, at))
            lines.append(ReceiptLine(sent.at, Disposition.SET_ASIDE, FaultCode.UNKNOWN_REFERENCE, sent=sent))
    lines += [line for line in history.aside if line.disposition is not Disposition.KEPT]
    if not lines:
        place = history.place("patient", 0)
        sent = SentFact(place, "patient")
        lines.append(ReceiptLine(place, Disposition.SET_ASIDE, FaultCode.UNKNOWN_REFERENCE, sent=sent))
    return History(history.patient, place=history.place, aside=tuple(lines))


def _line(history: History, kind: str, at: int, fate: Fate | None) -> ReceiptLine:
    notes, place = history.notes.get((kind, at), ()), history.place(kind, at)
    sent = SentFact(place, source=getattr(history, kind)[at].source)
    if fate is None:
        return ReceiptLine(place, Disposition.KEPT, None, notes, sent=sent)
    if fate.disposition is not Disposition.KEPT:
        notes = ()
    return ReceiptLine(place, fate.disposition, fate.reason, _joined_notes(notes, fate.notes), fate.affects, sent)


@lru_cache(maxsize=256)
def _joined_notes(notes: tuple[Note, ...], more: tuple[Note, ...]) -> tuple[Note, ...]:
    """Both, as one object for all facts that have them."""
    return notes + more


def not_ours(place: str, why: Skipped) -> ReceiptLine:
    """The line of something that the service does not keep."""
    return ReceiptLine(place, Disposition.NOT_OURS, why)


def joined(receipts: Sequence[Receipt]) -> Receipt:
    """Several receipts as one."""
    counts: Counter[Disposition] = Counter()
    for receipt in receipts:
        for disposition, count in receipt.counts.items():
            counts[disposition] += count
    return Receipt(counts, [line for receipt in receipts for line in receipt.lines])
