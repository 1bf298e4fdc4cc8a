"""A study keeps the fingerprint of the key of its pseudonyms, so that no person becomes two."""

import pytest

from app.errors import Conflict, NotFound
from app.readers.pseudonyms import fingerprint, study_key
from app.store import studies
from app.store.studies import FeedDefinition
from app.submission.feeds import feed_of, objection_to_secret, remember_key
from tests.store.posts import begin_study, now

SECRET, OTHER = "x" * 32, "y" * 32


def remember(database, study, value):
    with database.writing() as connection:
        studies.remember_pseudonym_key(connection, study, value)


def known(database):
    with database.reading() as connection:
        return studies.pseudonym_keys_of_studies(connection)


def feed(database, study, secret=SECRET):
    with database.reading() as connection:
        return feed_of(connection, study, secret, now())


def objection(database, secret):
    with database.reading() as connection:
        return objection_to_secret(connection, secret)


@pytest.fixture
def made_by_the_secret(database, study):
    """A study with pseudonyms that were made with the secret; those of other tests are of other studies."""
    for name, value in known(database).items():
        assert value == fingerprint(study_key(SECRET, name)), "another test left another key behind"
    remember(database, study, fingerprint(study_key(SECRET, study)))
    return study


def test_the_key_of_a_study_is_remembered_once(database, made_by_the_secret):
    value = fingerprint(study_key(SECRET, made_by_the_secret))
    remember(database, made_by_the_secret, value)
    assert known(database)[made_by_the_secret] == value


def test_another_key_is_refused_and_changes_nothing(database, made_by_the_secret):
    with pytest.raises(Conflict):
        remember(database, made_by_the_secret, fingerprint(study_key(OTHER, made_by_the_secret)))
    assert known(database)[made_by_the_secret] == fingerprint(study_key(SECRET, made_by_the_secret))


def test_a_study_that_does_not_exist_has_no_key(database):
    with pytest.raises(NotFound):
        remember(database, "nowhere", "0" * 32)


def test_the_key_is_forgotten_with_the_transaction_that_stored_nothing(database, study):
    def store_and_fail():
        with database.writing() as connection:
            studies.remember_pseudonym_key(connection, study, "0" * 32)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store_and_fail()
    assert study not in known(database)


def test_a_feed_remembers_its_key_and_a_feed_of_pseudonyms_has_none(database, study):
    with database.writing() as connection:
        remember_key(connection, study, feed_of(connection, study, SECRET, now()))
    assert known(database)[study] == fingerprint(study_key(SECRET, study))
    kept = begin_study(database, f"{study}-kept", feeds=FeedDefinition("pseudonyms"))
    with database.writing() as connection:
        remember_key(connection, kept, feed_of(connection, kept, None, now()))
    assert kept not in known(database)


def test_another_secret_is_noticed_before_the_first_pseudonym_is_stored(database, made_by_the_secret):
    with pytest.raises(Conflict), database.writing() as connection:
        remember_key(connection, made_by_the_secret, feed_of(connection, made_by_the_secret, OTHER, now()))


def test_numbers_of_medical_records_are_not_read_without_a_secret(database, study):
    with pytest.raises(Conflict) as refusal:
        feed(database, study, None)
    assert "MYORESPONSE_PSEUDONYM_SECRET_FILE" in str(refusal.value)
    kept = begin_study(database, f"{study}-kept", feeds=FeedDefinition("pseudonyms"))
    assert feed(database, kept, None).pseudonyms.number("A", "acc-1") == "acc-1"
    with pytest.raises(NotFound):
        feed(database, "nowhere")


def test_a_feed_reads_by_what_its_study_declares(database, study):
    declared = FeedDefinition("medical_record", ("WARD7",), {"L|CK": "CK"})
    name = begin_study(database, f"{study}-feeds", time_zone="Asia/Tokyo", test=True, feeds=declared)
    read, plain = feed(database, name), feed(database, study)
    assert (read.zone.key, read.test, plain.zone, plain.test) == ("Asia/Tokyo", True, None, False)
    assert read.pseudonyms.fingerprint == fingerprint(study_key(SECRET, name)) != plain.pseudonyms.fingerprint


def test_a_database_with_pseudonyms_is_opened_with_their_secret_only(database, made_by_the_secret):
    assert objection(database, SECRET) is None
    missing, another = objection(database, None), objection(database, OTHER)
    assert "MYORESPONSE_PSEUDONYM_SECRET_FILE" in missing
    assert "a secret that differs" in another
    assert OTHER not in another
