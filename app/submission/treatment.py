"""Notes about drugs and products, by what the protocol of the study declares."""

from dataclasses import replace

from app.derive.doses import GLUCOCORTICOID
from app.derive.exposure import comparable_name
from app.store import studies
from app.store.engine import Transaction
from app.timeline.facts import History
from app.timeline.receipts import Note, NoteCode


def noted_by_protocol(transaction: Transaction, study: str, history: History) -> History:
    """The history with notes about products that are not the treatment, and drugs that no analysis reads."""
    if not history.infusions and not history.medications:
        return history
    protocol = studies.protocol_in_force(transaction, study)
    products = {comparable_name(product) for product in protocol.treatment.products}
    drugs = {comparable_name(drug) for drug in (*protocol.ck_normal_time.immunosuppressants, GLUCOCORTICOID)}
    found = [
        ("infusions", i, Note(NoteCode.PRODUCT_IS_NO_TREATMENT))
        for i, infusion in enumerate(history.infusions)
        if comparable_name(infusion.product) not in products
    ] + [
        ("medications", i, Note(NoteCode.DRUG_UNKNOWN))
        for i, medication in enumerate(history.medications)
        if comparable_name(medication.drug) not in drugs
    ]
    notes = dict(history.notes)
    for kind, i, note in found:
        notes[kind, i] = (*notes.get((kind, i), ()), note)
    return replace(history, notes=notes) if found else history
