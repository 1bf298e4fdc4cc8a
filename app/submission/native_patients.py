"""How native JSON names the patients of a study: by plain identifiers, or by numbers, which become pseudonyms."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from app.errors import Accepts, Fault, FaultCode, InvalidDocument, ServiceError, pointer
from app.protocol.model import Protocol
from app.readers.pseudonyms import Identifier
from app.readers.statements import Feed
from app.store import ledger, studies
from app.store.engine import Database, Transaction
from app.store.revision_builder import RevisionBuilder
from app.submission.feeds import read_feed, remember_key
from app.submission.loop import Submitter
from app.timeline.facts import History
from app.timeline.receipts import Note, NoteCode

_UNKNOWN_ID = Fault("/patient/id", FaultCode.UNKNOWN_REFERENCE, "The study has no patient of this identifier.")
_UNDECLARED = "The protocol of the study does not declare one of these attributes."
_NOT_ENROLLED = Fault("/patient/identifier", FaultCode.UNKNOWN_REFERENCE, "The study has no patient of this number.")


def stated_attributes(history: History) -> dict[str, str]:
    """The attributes of the patient that only a protocol declares."""
    values = (fact.value for fact in history.attributes if fact.identity == "attributes")
    stated: dict[str, str] = json.loads(next(values, "{}"))
    return stated


def undeclared_attribute(history: History, protocol: Protocol) -> Fault | None:
    """The fault of the first attribute that a protocol does not declare, or whose value it does not allow."""
    for name, value in stated_attributes(history).items():
        allowed = protocol.attributes.get(name)
        if allowed is None:
            accepts = Accepts(one_of=tuple(protocol.attributes)) if protocol.attributes else None
            return Fault("/patient/attributes", FaultCode.UNKNOWN_FIELD, _UNDECLARED, accepts)
        if value not in allowed:
            at = pointer("patient", "attributes", name)
            return Fault(at, FaultCode.UNKNOWN_VALUE, accepts=Accepts(one_of=allowed))
    return None


def undeclared_attributes(transaction: Transaction, study: str, histories: Sequence[History]) -> list[Fault | None]:
    """The fault of each history of a feed that states an attribute which the protocol of the study does not declare."""
    found: list[Fault | None] = [None] * len(histories)
    stating = [i for i, history in enumerate(histories) if stated_attributes(history)]
    protocol = studies.protocol_in_force(transaction, study) if stating else None
    for i in stating:
        fault = undeclared_attribute(histories[i], protocol) if protocol else None
        names = [fact.identity for fact in histories[i].attributes]
        found[i] = fault and fault.at(histories[i].place("attributes", names.index("attributes")))
    return found


@dataclass(slots=True)
class NativePatients:
    """The patients that native JSON names in one study.

    What the study declares of its feeds is read when a number is to be replaced.
    """

    database: Database
    study: str
    secret: str | None
    now: int
    declared: studies.FeedDefinition | None = field(default=None, init=False)
    """What the study declares of its feeds, if it was read in the transaction that stores the patients."""
    made_with: str | None = field(default=None, init=False)
    """The fingerprint of the key of the study, if pseudonyms that were made with it are named as such."""
    _feed: Feed | None = field(default=None, init=False)
    _medical_records: bool = field(default=False, init=False)

    def who(self, number: Identifier) -> str | FaultCode:
        """The patient of a number. Raises `NotFound`, and `Conflict` if there is no secret to replace the number."""
        if self._feed is None:
            self._feed = read_feed(self.database, self.study, self.secret, self.now)
        return self._feed.pseudonyms.patient([number])

    def add(self, submitter: Submitter, transaction: Transaction, histories: Sequence[History]) -> ledger.Submission:
        """Store histories as one revision. Raises `InvalidDocument` if the study does not allow one of the patients."""
        builder = submitter.builder(transaction)
        self.check(builder, histories)
        submitter.more_noted = self.noted
        return submitter.submit(builder, histories)

    def check(self, builder: RevisionBuilder, histories: Sequence[History]) -> None:
        """Raise `InvalidDocument` if the study does not allow one of the patients."""
        faults = [
            replace(fault, pointer=(pointer(i) if len(histories) > 1 else "") + fault.pointer)
            for i, fault in enumerate(self._refused(builder, histories))
            if fault is not None
        ]
        if faults:
            raise InvalidDocument(faults=faults)
        self._remember_key(builder.connection)

    def add_each(
        self, submitter: Submitter, transaction: Transaction, histories: Sequence[History]
    ) -> list[ledger.Outcome | ServiceError]:
        """Store each history as one revision, or refuse it."""
        refused: list[Fault | None] = [None] * len(histories)
        declared = self._declared(transaction)
        stating = any(map(stated_attributes, histories))
        if declared.native_ids == "known" or declared.enrolled_only or stating:
            refused = self._refused(submitter.builder(transaction), histories)
        self._remember_key(transaction)
        allowed = [history for history, fault in zip(histories, refused, strict=True) if fault is None]
        submitter.more_noted = self.noted
        outcomes = iter(submitter.submit_each(transaction, allowed))
        return [next(outcomes) if fault is None else InvalidDocument(faults=[fault]) for fault in refused]

    @property
    def has_numbers(self) -> bool:
        """Whether a number was replaced."""
        return self._feed is not None

    def _remember_key(self, transaction: Transaction) -> None:
        if self._feed is not None:
            remember_key(transaction, self.study, self._feed)
        elif self.made_with is not None:
            studies.remember_pseudonym_key(transaction, self.study, self.made_with)

    def _declared(self, transaction: Transaction) -> studies.FeedDefinition:
        """What the study declares of its feeds, where a new patient may be added."""
        declared = self.declared or studies.feeds_of(transaction, self.study)
        self._medical_records = declared.identifiers == "medical_record"
        return declared

    def _refused(self, builder: RevisionBuilder, histories: Sequence[History]) -> list[Fault | None]:
        """The fault of each history that names a new patient in a way that the study does not allow, or states an
        attribute that its protocol does not declare.
        """
        found = self._not_allowed(builder, histories)
        stating = [i for i, history in enumerate(histories) if stated_attributes(history)]
        if stating:
            protocol = studies.protocol_in_force(builder.connection, self.study)
            for i in stating:
                found[i] = found[i] or undeclared_attribute(histories[i], protocol)
        return found

    def _not_allowed(self, builder: RevisionBuilder, histories: Sequence[History]) -> list[Fault | None]:
        builder.load_patients(history.patient for history in histories)
        known = set(builder.people)
        if all(history.patient in known for history in histories):
            return [None] * len(histories)
        declared = self._declared(builder.connection)
        faults = {
            True: _UNKNOWN_ID if declared.native_ids == "known" else None,
            False: _NOT_ENROLLED if declared.enrolled_only else None,
        }
        refused = []
        for history in histories:
            is_new = history.patient not in known and not builder.is_erased(history.patient)
            refused.append(faults[history.plain_id] if is_new else None)
            if refused[-1] is None:
                known.add(history.patient)
        return refused

    def noted(self, history: History, outcome: ledger.Outcome) -> ledger.Outcome:
        """The outcome with a note about a new plain identifier in a study of medical record numbers."""
        if outcome.status != "created" or not history.plain_id or not self._medical_records:
            return outcome
        new_patient, *lines = outcome.receipt.lines
        new_patient = new_patient._replace(notes=(*new_patient.notes, Note(NoteCode.PLAIN_ID)))
        return replace(outcome, receipt=replace(outcome.receipt, lines=(new_patient, *lines)))
