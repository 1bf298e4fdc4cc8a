"""Client ids: identifiers that clients chose for resources (`PUT /Observation/{id}`), and what each of them names.

A client id is stored as `Pseudonyms.alias` gives it: replaced by a pseudonym if the study replaces the identifiers of
its feeds. The erasure of a patient deletes the patient's client ids. The name of the SQL table is `aliases`.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import bindparam, select

from app.errors import Erased
from app.store.engine import Transaction, origin_of
from app.store.hashes import name_tombstone
from app.store.ledger_keys import keys_of
from app.store.queries import Insertion, Query, filled, listed, listed_names
from app.store.seals import change, row_of
from app.store.studies import study_key
from app.store.tables import client_ids, erased_names, patients, studies

_SECRET = Query(select(studies.c.locked_secret).where(studies.c.key == bindparam("study")), "study")
_INSERT = Insertion(client_ids)


@cache
def _find_query(length: int) -> Query:
    clause = (
        select(
            client_ids.c.alias,
            patients.c.id,
            client_ids.c.patient_key,
            client_ids.c.kind,
            client_ids.c.identity,
            client_ids.c.draw,
        )
        .join_from(client_ids, patients, patients.c.key == client_ids.c.patient_key)
        .where(
            client_ids.c.study == bindparam("study"),
            client_ids.c.resource == bindparam("resource"),
            client_ids.c.alias.in_(listed(length)),
        )
    )
    return Query(clause, "study", "resource", *listed_names(length))


@cache
def _erased_query(length: int) -> Query:
    clause = select(erased_names.c.name).where(
        erased_names.c.study == bindparam("study"), erased_names.c.name.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


class ClientId(NamedTuple):
    """What a client id names: a patient, or a fact of the patient by its kind (`facts.KINDS`), identity and draw."""

    patient: str
    patient_key: int
    kind: str | None
    identity: str | None
    draw: str = ""


def find(connection: Transaction, study_id: str, resource: str, name: str) -> ClientId | None:
    """What a client id of this resource type names in a study; `None` where it names nothing.

    Raises `Erased` if it named a patient who was erased and not stored again since.
    """
    study = study_key(connection, study_id)
    found = find_all(connection, study, [(resource, name)]).get((resource, name))
    if found is None and resource == "Patient":
        secret = _SECRET.row(connection, study)
        if secret and erased_among(connection, study, keys_of(connection).unlock(secret[0]), [name]):
            raise Erased
    return found


def find_all(connection: Transaction, study: int, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ClientId]:
    """What client ids name in a study (given by its key). Each id comes as (resource type, id)."""
    by_type: dict[str, list[str]] = {}
    names = sorted(set(names))
    if (origin := origin_of(connection)) is not None:
        origin.bring_client_ids(connection, names)
    for resource, name in names:
        by_type.setdefault(resource, []).append(name)
    return {
        (resource, name): ClientId(*named)
        for resource, ids in by_type.items()
        for chunk in filled(ids)
        for name, *named in _find_query(len(chunk)).rows(connection, study, resource, *chunk)
    }


def erased_among(connection: Transaction, study: int, secret: bytes, names: Iterable[str]) -> set[str]:
    """Those of these client ids that named patients who were erased and not stored again since."""
    stones = {name_tombstone(secret, name): name for name in names}
    return {
        stones[bytes(stone)]
        for chunk in filled(stones)
        for (stone,) in _erased_query(len(chunk)).rows(connection, study, *chunk)
    }


def add(connection: Transaction, study: int, named: Sequence[tuple[str, str, ClientId]]) -> None:
    """Store new client ids, each as (resource type, id, what it names), in the transaction that stores the resources.

    The caller holds the lock of the study.
    """
    rows = [(resource, name, *found[1:]) for resource, name, found in named]
    _INSERT.run(connection, [(study, *row) for row in rows])
    change(connection, study, [row_of(client_ids.name, *row) for row in rows])
