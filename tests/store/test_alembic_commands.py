"""Alembic's own commands, run at the top of a checkout on the database that the service would use."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

ROOT = Path(__file__).parents[2]
ALEMBIC = Path(sys.executable).with_name("alembic")
NEW_TABLE = """
import sqlalchemy

sqlalchemy.Table("annex", metadata, sqlalchemy.Column("number", sqlalchemy.Integer, primary_key=True))
"""

pytestmark = pytest.mark.slow


def alembic(directory, url, *words):
    """Whether a command succeeded, and its output."""
    environment = os.environ | {"MYORESPONSE_DATABASE_URL": url}
    done = subprocess.run(
        [ALEMBIC, *words], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stdout + done.stderr


def with_another_table(directory):
    """A copy of the checkout whose code has one table more than its migrations."""
    shutil.copy(ROOT / "pyproject.toml", directory)
    for part in ("alembic", "app"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    with (directory / "app/store/tables.py").open("a", encoding="utf-8") as tables:
        tables.write(NEW_TABLE)
    return directory


def test_the_commands_of_alembic_upgrade_check_and_write_a_migration(database_url, tmp_path):
    assert alembic(ROOT, database_url, "upgrade", "head") == (True, "")
    assert alembic(ROOT, database_url, "check") == (True, "No new upgrade operations detected.\n")
    copy = with_another_table(tmp_path)
    succeeded, output = alembic(copy, database_url, "check")
    assert not succeeded
    assert "New upgrade operations detected: [('add_table', Table('annex'" in output
    succeeded, output = alembic(copy, database_url, "revision", "--autogenerate", "--rev-id", "annex", "-m", "more")
    assert succeeded, output
    written = (copy / "alembic/versions/annex_more.py").read_text(encoding="utf-8")
    assert written.count("op.create_table(") == written.count("op.drop_table(") == 1
    assert alembic(copy, database_url, "upgrade", "head") == (True, "")
    engine = create_engine(database_url, poolclass=NullPool)
    assert "annex" in inspect(engine).get_table_names()


def test_a_script_of_sql_is_refused_and_nothing_is_changed(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"
    succeeded, output = alembic(ROOT, url, "upgrade", "head", "--sql")
    assert not succeeded
    assert "cannot be written as a script of SQL" in output
    assert not (tmp_path / "x.db").exists()
