"""Makes the receipt of a history from what its reader and the ledger say of its facts."""

from collections import Counter

from app.errors import FaultCode
from app.readers.statements import Skipped
from app.store.fates import Fate
from app.store.ledger import Counts, Outcome
from app.timeline.facts import History
from app.timeline.receipts import Disposition, Note, NoteCode, Receipt, ReceiptLine

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
    if not (full or outcome.fates or history.notes or history.aside):
        return Receipt(Counter({Disposition.KEPT: outcome.counts.added + outcome.counts.repeats}), new)
    fates = {(fate.kind, fate.at): fate for fate in outcome.fates}
    lines = new
    counts = Counter({Disposition.KEPT: history.repeats})
    for kind, facts in history.kinds():
        counts[Disposition.KEPT] += len(facts)
        listed = range(len(facts)) if full else sorted(at for of, at in fates.keys() | history.notes if of == kind)
        for at in listed:
            line = _line(history, kind, at, fates.get((kind, at)))
            if line.disposition is not Disposition.KEPT:
                counts[Disposition.KEPT] -= 1
                counts[line.disposition] += 1
            if full or line.disposition is not Disposition.KEPT or line.affects or line.notes not in ((), _UNCHANGED):
                lines.append(line)
    counts.update(line.disposition for line in history.aside if line.disposition is not Disposition.KEPT)
    return Receipt(counts, (*lines, *history.aside))


def left_out_of(history: History) -> Outcome:
    """The outcome of a history of a patient whom a feed may not add to the study: each fact is set aside."""
    why = FaultCode.UNKNOWN_REFERENCE
    lines = [
        ReceiptLine(history.place(kind, at), Disposition.SET_ASIDE, why)
        for kind, facts in history.kinds()
        for at in range(len(facts))
    ]
    lines += [line for line in history.aside if line.disposition is not Disposition.KEPT]
    receipt = Receipt(Counter(line.disposition for line in lines), lines)
    return Outcome(history.patient, "unchanged", None, Counts(), receipt=receipt)


def _line(history: History, kind: str, at: int, fate: Fate | None) -> ReceiptLine:
    notes, place = history.notes.get((kind, at), ()), history.place(kind, at)
    if fate is None:
        return ReceiptLine(place, Disposition.KEPT, None, notes)
    if fate.disposition is not Disposition.KEPT:
        notes = ()
    return ReceiptLine(place, fate.disposition, fate.reason, notes + fate.notes, fate.affects)


def not_ours(place: str, why: Skipped) -> ReceiptLine:
    """The line of something that the service does not keep."""
    return ReceiptLine(place, Disposition.NOT_OURS, why)
