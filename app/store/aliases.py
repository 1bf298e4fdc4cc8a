"""How clients name a resource that is stored: by an identifier that they chose for it, or by the number of its source.

An alias (`PUT /Observation/{id}`) is kept as `Pseudonyms.alias` wrote it: where the identifiers of a study's feeds are
replaced, this one is too. Erasing a patient takes the aliases along.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, exists, select

from app.errors import Erased
from app.store.hashes import name_tombstone
from app.store.statements import Insertion, Statement
from app.store.studies import study_key
from app.store.tables import FACTS, aliases, erased_names, patients, studies

_NAMED = Statement(
    select(patients.c.id, aliases.c.patient_key, aliases.c.kind, aliases.c.identity)
    .join_from(aliases, patients, patients.c.key == aliases.c.patient_key)
    .where(
        aliases.c.study == bindparam("study"),
        aliases.c.resource == bindparam("resource"),
        aliases.c.alias == bindparam("alias"),
    ),
    "study",
    "resource",
    "alias",
)
_SECRET = Statement(
    select(studies.c.secret, exists().where(erased_names.c.study == studies.c.key)).where(
        studies.c.key == bindparam("study")
    ),
    "study",
)
_ERASED = Statement(
    select(erased_names.c.name).where(
        erased_names.c.study == bindparam("study"), erased_names.c.name == bindparam("stone")
    ),
    "study",
    "stone",
)
_INSERT = Insertion(aliases)


def _numbered(kind: str) -> Statement:
    """Facts of a number and a patient, one row each. An identity begins with the number, so that it is one look-up."""
    table, _ = FACTS[kind]
    clause = (
        select(patients.c.id, table.c.patient_key, table.c.identity, table.c.source)
        .join_from(patients, table, table.c.patient_key == patients.c.key)
        .where(
            patients.c.study == bindparam("study"),
            patients.c.id == bindparam("patient"),
            table.c.identity >= bindparam("first"),
            table.c.identity < bindparam("behind"),
        )
        .distinct()
        .order_by(table.c.identity)
    )
    return Statement(clause, "study", "patient", "first", "behind")


_NUMBERED = {kind: _numbered(kind) for kind in FACTS}


class Alias(NamedTuple):
    """What an alias names: a patient, or one of their facts by its kind (`facts.KINDS`) and identity."""

    patient: str
    patient_key: int
    kind: str | None
    identity: str | None


def named(connection: Connection, study_id: str, resource: str, alias: str) -> Alias | None:
    """What an alias of this type of resource names in a study, if anything.

    Raises `Erased` where it was the name of a patient who has been erased and not been let in again.
    """
    study = study_key(connection, study_id)
    found = _NAMED.row(connection, study, resource, alias)
    if found is None and resource == "Patient" and _is_erased(connection, study, alias):
        raise Erased
    return None if found is None else Alias(*found)


def _is_erased(connection: Connection, study: int, alias: str) -> bool:
    secret, any_erased = _SECRET.row(connection, study) or (b"", False)
    return any_erased and _ERASED.row(connection, study, name_tombstone(bytes(secret), alias)) is not None


def remember(
    connection: Connection,
    study_id: str,
    resource: str,
    alias: str,
    *,
    patient_key: int,
    kind: str | None = None,
    identity: str | None = None,
) -> None:
    """Note what a new alias names, in the transaction that stores it; the writer holds the lock of the study."""
    _INSERT.run(connection, [(study_key(connection, study_id), resource, alias, patient_key, kind, identity)])


def numbered(
    connection: Connection,
    study_id: str,
    patient: str,
    kinds: Iterable[str],
    number: str,
    source: str | None = None,
) -> list[Alias]:
    """The facts of a patient and of these kinds that their source numbered so; of any source where none is named."""
    study, among = study_key(connection, study_id), (f"#{number}|", f"#{number}}}")
    return [
        Alias(patient, key, kind, identity)
        for kind in kinds
        for _, key, identity, given in _NUMBERED[kind].rows(connection, study, patient, *among)
        if source is None or given == source
    ]
