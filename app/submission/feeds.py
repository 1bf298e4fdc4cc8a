"""Makes the `Feed` of a study for readers, from the declarations of the study and the secret of the operator."""

import json
from datetime import timedelta
from zoneinfo import ZoneInfo

from app.errors import Accepts, Conflict, Fault, FaultCode, InvalidDocument
from app.readers.pseudonyms import Pseudonyms, fingerprint, study_key
from app.readers.statements import Feed
from app.readers.table_layout import TableMapping
from app.store import studies
from app.store.engine import Database, Transaction
from app.timeline.times import CLOCK_SKEW
from app.timeline.vocabulary import CodeBook


def feed_of(transaction: Transaction, study_id: str, secret: str | None, now: int) -> Feed:
    """The feed of a study for a message that is received now. Raises `NotFound` for an unknown study and `Conflict`."""
    return feed(studies.get_study(transaction, study_id), studies.pseudonym_key(transaction, study_id), secret, now)


def feed(study: studies.Study, made_with: str | None, secret: str | None, now: int) -> Feed:
    """The feed of a study whose pseudonyms were made by the key with the fingerprint `made_with`.

    Raises `Conflict` if identifiers must be replaced and there is no secret, or another secret than before. With
    another secret no patient would be found, and the answer would look as if there were none.
    """
    declared = study.feeds
    key = None
    if declared.identifiers == "medical_record":
        if secret is None:
            raise Conflict(
                "Identifiers of this study's feeds are numbers of medical records, and the service has no secret to "
                "replace them: set MYORESPONSE_PSEUDONYM_SECRET_FILE, or declare the identifiers as pseudonyms."
            )
        key = study_key(secret, study.id)
        if made_with not in {None, fingerprint(key)}:
            raise Conflict(studies.PSEUDONYMS_MADE_OTHERWISE)
    return Feed(
        latest=now + CLOCK_SKEW // timedelta(microseconds=1),
        pseudonyms=Pseudonyms(key, declared.authorities),
        codes=CodeBook(declared.local_codes, declared.unit_aliases),
        zone=ZoneInfo(study.time_zone) if study.time_zone else None,
        test=study.test,
        charsets=declared.charsets,
        offset_of_message=declared.message_offset == "default",
        time_of_result=declared.result_time == "OBX-14",
        enrolled_only=declared.enrolled_only,
    )


def read_feed(database: Database, study_id: str, secret: str | None, now: int) -> Feed:
    """The feed of a study, read in a separate transaction. Raises what `feed_of` raises, and `Busy`."""
    with database.reading() as transaction:
        return feed_of(transaction, study_id, secret, now)


def mapping_of(database: Database, study_id: str, name: str) -> TableMapping:
    """The layout of a table that a study declares under this name. Raises `NotFound` and `InvalidDocument`."""
    with database.reading() as transaction:
        tables = {table["name"]: table for table in studies.feeds_of(transaction, study_id).tables}
    if name not in tables:
        accepts = Accepts(one_of=tuple(sorted(tables))) if tables else None
        why = "The study does not declare a table of this name."
        raise InvalidDocument(faults=[Fault("/query/mapping", FaultCode.UNKNOWN_VALUE, why, accepts)])
    return TableMapping.model_validate_json(json.dumps(tables[name]))


def remember_key(transaction: Transaction, study_id: str, feed: Feed) -> None:
    """Store the fingerprint of the key of the pseudonyms, in the transaction that stores the pseudonyms."""
    if feed.pseudonyms.fingerprint is not None:
        studies.remember_pseudonym_key(transaction, study_id, feed.pseudonyms.fingerprint)


def objection_to_secret(transaction: Transaction, secret: str | None) -> str | None:
    """The reason why the service must not start with this secret and this database, or `None`."""
    for study, made_with in studies.pseudonym_keys_of_studies(transaction).items():
        if secret is None:
            return (
                "The database has pseudonyms and there is no secret: set MYORESPONSE_PSEUDONYM_SECRET_FILE or "
                "MYORESPONSE_PSEUDONYM_SECRET to the secret that they were made with."
            )
        if fingerprint(study_key(secret, study)) != made_with:
            return (
                f"The pseudonyms of study {study} were made with a secret that differs from the secret in the settings."
            )
    return None
