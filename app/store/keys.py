"""By which keys the pseudonyms of studies were made: fingerprints, so that another key is noticed before it is used."""

from sqlalchemy import Connection, bindparam, select

from app.errors import Conflict
from app.store.statements import Insertion, Statement
from app.store.studies import study_key
from app.store.tables import pseudonym_keys, studies

MADE_OTHERWISE = "The pseudonyms of this study were made with another secret than the one in the settings."
_OF_STUDY = Statement(select(pseudonym_keys.c.fingerprint).where(pseudonym_keys.c.study == bindparam("study")), "study")
_ALL = Statement(
    select(studies.c.id, pseudonym_keys.c.fingerprint)
    .join_from(pseudonym_keys, studies, studies.c.key == pseudonym_keys.c.study)
    .order_by(studies.c.id)
)
_INSERT = Insertion(pseudonym_keys)


def made_with(connection: Connection, study_id: str) -> str | None:
    """The fingerprint of the key that the study's pseudonyms were made by; `None` where it holds none."""
    known = _OF_STUDY.row(connection, study_key(connection, study_id))
    return None if known is None else str(known[0])


def remember(connection: Connection, study_id: str, fingerprint: str) -> None:
    """Note by which key the study's pseudonyms are made, in the transaction that stores the first of them.

    Raises `Conflict` where they were made by another: the same person would become two.
    """
    key = study_key(connection, study_id)
    known = _OF_STUDY.row(connection, key)
    if known is None:
        _INSERT.run(connection, [(key, fingerprint)])
    elif known[0] != fingerprint:
        raise Conflict(MADE_OTHERWISE)


def fingerprints(connection: Connection) -> dict[str, str]:
    """The fingerprint of each study that holds pseudonyms, by the study."""
    return dict(_ALL.rows(connection))
