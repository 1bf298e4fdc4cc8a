"""The secret of the pseudonyms stays outside the database, and without it nothing starts beside them."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.__main__ import cli
from app.readers.pseudonyms import fingerprint, study_key
from app.settings import Settings
from app.store import studies
from app.store.engine import Database
from tests.api.examples import make_study

SECRET, OTHER = "x" * 32, "y" * 32


def plant(client, url):
    """Make a study whose pseudonyms were made with the secret."""
    make_study(client)
    database = Database(url)
    with database.writing() as connection:
        studies.remember_pseudonym_key(connection, "trial", fingerprint(study_key(SECRET, "trial")))
    database.dispose()


@pytest.fixture
def with_pseudonyms(serve, migrated_url):
    """The address of a database with pseudonyms."""
    plant(serve(migrated_url), migrated_url)
    return migrated_url


@pytest.fixture
def secret_file(tmp_path):
    """A file with the secret, as an editor leaves it."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    return file


def test_the_service_starts_with_the_secret_that_its_pseudonyms_were_made_with(serve, with_pseudonyms, secret_file):
    for given in ({"pseudonym_secret": SECRET}, {"pseudonym_secret_file": secret_file}):
        assert serve(with_pseudonyms, **given).get("/v1/studies/trial").status_code == 200


@pytest.mark.parametrize(("secret", "says"), [("", "there is no secret"), (OTHER, "a secret that differs")])
def test_the_service_does_not_start_without_it_or_with_another(serve, with_pseudonyms, secret, says):
    with pytest.raises(RuntimeError, match=says) as refusal:
        serve(with_pseudonyms, pseudonym_secret=secret)
    assert OTHER not in str(refusal.value)


def test_a_service_without_pseudonyms_needs_no_secret(serve, migrated_url):
    make_study(serve(migrated_url))
    assert serve(migrated_url, pseudonym_secret=OTHER).get("/v1/studies/trial").status_code == 200


def run(url, *command, **settings):
    variables = {f"MYORESPONSE_{name}": value for name, value in settings.items()}
    return CliRunner().invoke(cli, command, env={"MYORESPONSE_DATABASE_URL": url, "MYORESPONSE_PORT": "0"} | variables)


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [({}, "MYORESPONSE_PSEUDONYM_SECRET_FILE"), ({"PSEUDONYM_SECRET": OTHER}, "a secret that differs")],
)
def test_the_command_line_says_in_a_line_why_it_does_not_start(with_pseudonyms, command, settings, says):
    ended = run(with_pseudonyms, command, **settings)
    assert ended.exit_code == 3, ended.stderr
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert OTHER not in ended.output


def test_the_command_line_starts_with_the_secret_in_a_file(with_pseudonyms, secret_file):
    ended = run(with_pseudonyms, "demo", PSEUDONYM_SECRET_FILE=str(secret_file))
    assert ended.exit_code == 0, ended.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"PSEUDONYM_SECRET": "too-short-7f3a"}, "at least 32 characters"),
        ({"PSEUDONYM_SECRET": SECRET, "PSEUDONYM_SECRET_FILE": "/dev/null"}, "must not be set together"),
        ({"PSEUDONYM_SECRET_FILE": "/dev/null"}, "at least 32 characters"),
        ({"PSEUDONYM_SECRET_FILE": "/nowhere/secret"}, "cannot be read"),
        ({"PSEUDONYM_SECRET_FILE": "/"}, "cannot be read"),
    ],
)
def test_a_secret_that_cannot_be_used_is_reported_in_a_line_and_never_repeated(settings, says):
    ended = run("sqlite:////nowhere/x.db", "serve", **settings)
    assert ended.exit_code == 2, ended.stderr
    assert says in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    for value in (SECRET, "too-short-7f3a"):
        assert value not in ended.output


def test_the_secret_of_a_file_is_its_text_without_the_line_break(secret_file):
    assert Settings(pseudonym_secret_file=secret_file).secret == SECRET
    secret_file.write_bytes(b"\xff" * 40)
    with pytest.raises(ValidationError, match="cannot be read"):
        Settings(pseudonym_secret_file=secret_file)


def test_no_secret_is_no_secret():
    assert Settings().secret is None
    assert Settings(pseudonym_secret="").secret is None
    assert Settings(pseudonym_secret=SECRET).secret == SECRET


def test_the_secret_is_in_no_text_about_the_settings(secret_file):
    for settings in (Settings(pseudonym_secret=SECRET), Settings(pseudonym_secret_file=secret_file)):
        assert settings.secret == SECRET
        assert SECRET not in repr(settings) + str(settings)


def test_the_secret_is_nowhere_in_the_database(serve, sqlite_url):
    plant(serve(sqlite_url, pseudonym_secret=SECRET), sqlite_url)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    stored = b"".join(one.read_bytes() for one in file.parent.glob(f"{file.name}*"))
    assert fingerprint(study_key(SECRET, "trial")).encode() in stored
    assert SECRET.encode() not in stored
    assert study_key(SECRET, "trial") not in stored
