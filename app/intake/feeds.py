"""What a study declares of its feeds, put together for a reader with the secret that the operator keeps."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.errors import Conflict
from app.ingest.feed import Feed
from app.ingest.pseudonyms import Pseudonyms, fingerprint, study_key
from app.store import keys, studies
from app.timeline.times import CLOCK_SKEW
from app.timeline.vocabulary import CodeBook


def feed_of(connection: Connection, study_id: str, secret: str | None, now: int) -> Feed:
    """The feed of a study for a message that is received now.

    Raises `NotFound` for an unknown study, and `Conflict` where its identifiers are to be replaced and there is no
    secret to do it with, or another one than before: nobody would be found, and that must not look like an answer.
    """
    study = studies.get_study(connection, study_id)
    declared = study.feeds
    key = None
    if declared.identifiers == "medical_record":
        if secret is None:
            raise Conflict(
                "Identifiers of this study's feeds are numbers of medical records, and the service has no secret to "
                "replace them with: set MYORESPONSE_PSEUDONYM_SECRET_FILE, or declare them as pseudonyms."
            )
        key = study_key(secret, study_id)
        if keys.made_with(connection, study_id) not in {None, fingerprint(key)}:
            raise Conflict(keys.MADE_OTHERWISE)
    return Feed(
        latest=now + CLOCK_SKEW // timedelta(microseconds=1),
        pseudonyms=Pseudonyms(key, declared.authorities),
        codes=CodeBook(declared.local_codes),
        zone=ZoneInfo(study.time_zone) if study.time_zone else None,
        test=study.test,
    )


def remember_key(connection: Connection, study_id: str, feed: Feed) -> None:
    """Note by which key pseudonyms are made, in the transaction that stores them."""
    if feed.pseudonyms.fingerprint is not None:
        keys.remember(connection, study_id, feed.pseudonyms.fingerprint)


def objection_to_secret(connection: Connection, secret: str | None) -> str | None:
    """Why the service must not start with this secret on this database, or `None` where it may."""
    for study, made_with in keys.fingerprints(connection).items():
        if secret is None:
            return (
                "The database holds pseudonyms and there is no secret: set MYORESPONSE_PSEUDONYM_SECRET_FILE or "
                "MYORESPONSE_PSEUDONYM_SECRET to the one they were made with."
            )
        if fingerprint(study_key(secret, study)) != made_with:
            return f"The pseudonyms of study {study} were made with another secret than the one in the settings."
    return None
