"""Identifiers that clients chose for stored resources (`PUT /Observation/{id}`), and what each of them names.

A client's identifier is kept as `Pseudonyms.alias` wrote it: where the identifiers of a study's feeds are replaced,
this one is too. Erasing a patient takes their identifiers along.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import bindparam, select

from app.errors import Erased
from app.store.engine import Transaction
from app.store.hashes import name_tombstone
from app.store.queries import Insertion, Query, filled, listed, listed_names
from app.store.studies import study_key
from app.store.tables import aliases, erased_names, patients, studies

_SECRET = Query(select(studies.c.secret).where(studies.c.key == bindparam("study")), "study")
_INSERT = Insertion(aliases)


@cache
def _named(length: int) -> Query:
    clause = (
        select(aliases.c.alias, patients.c.id, aliases.c.patient_key, aliases.c.kind, aliases.c.identity)
        .join_from(aliases, patients, patients.c.key == aliases.c.patient_key)
        .where(
            aliases.c.study == bindparam("study"),
            aliases.c.resource == bindparam("resource"),
            aliases.c.alias.in_(listed(length)),
        )
    )
    return Query(clause, "study", "resource", *listed_names(length))


@cache
def _erased(length: int) -> Query:
    clause = select(erased_names.c.name).where(
        erased_names.c.study == bindparam("study"), erased_names.c.name.in_(listed(length))
    )
    return Query(clause, "study", *listed_names(length))


class ClientId(NamedTuple):
    """What a client's identifier names: a patient, or one of their facts by its kind (`facts.KINDS`) and identity."""

    patient: str
    patient_key: int
    kind: str | None
    identity: str | None


def find(connection: Transaction, study_id: str, resource: str, name: str) -> ClientId | None:
    """What a client's identifier of this type of resource names in a study, if anything.

    Raises `Erased` where it was that of a patient who has been erased and not been let in again.
    """
    study = study_key(connection, study_id)
    found = find_all(connection, study, [(resource, name)]).get((resource, name))
    if found is None and resource == "Patient":
        (secret,) = _SECRET.row(connection, study) or (b"",)
        if erased_among(connection, study, bytes(secret), [name]):
            raise Erased
    return found


def find_all(connection: Transaction, study: int, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ClientId]:
    """What each of these identifiers, with its type of resource before it, names in a study (by its key)."""
    by_type: dict[str, list[str]] = {}
    for resource, name in sorted(set(names)):
        by_type.setdefault(resource, []).append(name)
    return {
        (resource, name): ClientId(*named)
        for resource, wanted in by_type.items()
        for chunk in filled(wanted)
        for name, *named in _named(len(chunk)).rows(connection, study, resource, *chunk)
    }


def erased_among(connection: Transaction, study: int, secret: bytes, names: Iterable[str]) -> set[str]:
    """Which of these were identifiers of patients who have been erased and not been let in again."""
    stones = {name_tombstone(secret, name): name for name in names}
    return {
        stones[bytes(stone)]
        for chunk in filled(stones)
        for (stone,) in _erased(len(chunk)).rows(connection, study, *chunk)
    }


def add(connection: Transaction, study: int, named: Sequence[tuple[str, str, ClientId]]) -> None:
    """Note what new identifiers name, each after its type of resource, in the transaction that stores the resources;
    the writer holds the lock of the study.
    """
    _INSERT.run(connection, [(study, resource, name, *found[1:]) for resource, name, found in named])
