"""Makes the receipt of a history from what its reader and the ledger say of its facts."""

from collections import Counter

from app.readers.statements import Skipped
from app.store.fates import Fate
from app.store.ledger import Outcome
from app.timeline.facts import History
from app.timeline.receipts import Disposition, Note, NoteCode, Receipt, ReceiptLine

_NEW = (Note(NoteCode.NEW_PATIENT),)
_UNCHANGED = (Note(NoteCode.UNCHANGED),)


def receipt_of(history: History, outcome: Outcome, *, full: bool = False) -> Receipt:
    """The receipt of a history. It has a line for each fact that is not plainly kept; with `full`, for each fact.

    A fact that stood before is plainly kept. The note `new_patient` stands in a line of its own, which is not counted.
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
    for line in history.aside:
        counts[line.disposition] += 1
    return Receipt(counts, (*lines, *history.aside))


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
