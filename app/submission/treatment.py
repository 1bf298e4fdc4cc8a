"""Notes about drugs and products, by what the protocol of the study declares."""

from collections.abc import Iterator
from dataclasses import replace

from app.derive.doses import gives_daily_dose
from app.derive.exposure import comparable_name
from app.store import studies
from app.store.engine import Transaction
from app.timeline.drugs import could_mean, drug_key, drug_of
from app.timeline.facts import History, MedicationFact
from app.timeline.receipts import Note, NoteCode
from app.timeline.vocabulary import WITHDRAWN


def noted_by_protocol(transaction: Transaction, study: str, history: History) -> History:
    """The history with notes about products that are not the treatment, and drugs that no analysis reads."""
    if not history.infusions and not history.medications:
        return history
    protocol = studies.protocol_in_force(transaction, study)
    products = {comparable_name(product) for product in protocol.treatment.products}
    listed = {drug_key(drug) for drug in protocol.ck_normal_time.immunosuppressants}
    found = [
        ("infusions", i, Note(NoteCode.PRODUCT_IS_NO_TREATMENT))
        for i, infusion in enumerate(history.infusions)
        if comparable_name(infusion.product) not in products
    ] + [
        ("medications", i, note)
        for i, medication in enumerate(history.medications)
        for note in _about_drug(medication, listed)
    ]
    notes = dict(history.notes)
    for kind, i, note in found:
        notes[kind, i] = (*notes.get((kind, i), ()), note)
    return replace(history, notes=notes) if found else history


def _about_drug(medication: MedicationFact, listed: set[str]) -> Iterator[Note]:
    """What analyses cannot use of a medication: its drug, or its dose; and that it is an order."""
    drug = drug_of(medication.drug)
    if medication.ordered and medication.status not in WITHDRAWN:
        yield Note(NoteCode.ORDERED)
    if drug is not None and drug.prednisolone_equivalent is not None:
        if medication.unit is not None and not gives_daily_dose(medication.unit):
            yield Note(NoteCode.DOSE_NOT_DAILY, medication.unit)
    elif drug_key(medication.drug) not in listed:
        if drug is not None:
            yield Note(NoteCode.DRUG_NOT_READ)
        elif meant := could_mean(medication.drug):
            yield Note(NoteCode.DRUG_AMBIGUOUS, " or ".join(meant))
        else:
            yield Note(NoteCode.DRUG_UNKNOWN)
