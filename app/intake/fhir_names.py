"""What the names of resources lead to: identifiers that clients chose, and those that this service gave."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from app.ingest.fhir.entries import Request
from app.ingest.pseudonyms import Pseudonyms
from app.store import aliases, resources
from app.store.aliases import Alias
from app.store.resources import Identities
from app.store.studies import study_key
from app.timeline.resource import KINDS_OF, Found


@dataclass(slots=True)
class Names:
    """The names of one study's resources, within one transaction.

    A panel that a client names is one resource to it and several facts here. Its name leads to the first of them, and
    names that no resource can have (`panel#0`, `panel#1`) to the others, its parts.
    """

    connection: Connection
    study_id: str
    pseudonyms: Pseudonyms
    identities: Identities | None = None
    _identities: Identities = field(init=False)

    def __post_init__(self) -> None:
        """Use what was looked up before, where anything was."""
        self._identities = self.identities or Identities(self.connection)

    def of(self, resource: str, name: str) -> str:
        """A client's name as it is kept."""
        return self.pseudonyms.alias(resource, name)

    def named(self, resource: str, name: str) -> Alias | None:
        """What a client's name leads to."""
        return aliases.named(self.connection, self.study_id, resource, self.of(resource, name))

    def aim(self, request: Request) -> Alias | None:
        """The stored resource that a request names: by a client's name, or by the identifier that we gave it.

        Of a patient ours goes first, as all that we answer refers to patients by it.
        """
        if request.id is None or request.resource not in KINDS_OF:
            return None
        kind: Any = request.resource
        named = self.named(kind, request.id)
        if named is not None and (kind != "Patient" or not self._is_ours(request.id)):
            return named
        found = resources.find(self.connection, self.study_id, kind, request.id, self._identities)
        if found is None:
            return None
        if found.fact is None:
            return Alias(found.patient, found.patient_key, None, None)
        return Alias(found.patient, found.patient_key, found.kind, found.fact.identity)

    def _is_ours(self, name: str) -> bool:
        study = study_key(self.connection, self.study_id)
        return resources.patient_key(self.connection, study, name) is not None

    def standing(self, named: Alias) -> Found | None:
        """What a name leads to as it stands."""
        if named.kind is None or named.identity is None:
            return resources.find_patient(self.connection, self.study_id, named.patient)
        return resources.find_fact(self.connection, self.study_id, named.patient_key, named.kind, named.identity)

    def parts(self, request: Request) -> list[Alias]:
        """The parts of the panel that a request names."""
        found: list[Alias] = []
        resource = request.resource or ""
        while (part := self.named(resource, _part(request, len(found)))) is not None:
            found.append(part)
        return found

    def new_parts(self, request: Request, facts: list[tuple[str, str]]) -> tuple[tuple[str, str, str], ...]:
        """Names, as they are kept, for those of the facts (kind and identity) that are no parts of the panel yet."""
        known = self.parts(request)
        fresh = [fact for fact in facts if fact not in {(part.kind, part.identity) for part in known}]
        resource, count = request.resource or "", len(known)
        return tuple((self.of(resource, _part(request, count + i)), *fact) for i, fact in enumerate(fresh))


def _part(request: Request, number: int) -> str:
    return f"{request.id}#{number}"
