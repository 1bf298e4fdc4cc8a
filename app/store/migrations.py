"""Migrate a database to the tables of this version, or back.

The scripts are in the directory `alembic/`: next to the package in a checkout, inside the package where it is
installed. The configuration is made here, so that the process may start in any directory.
"""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import app
from alembic import command
from app.errors import ServiceError
from app.store.engine import Database, revision_of
from app.store.failures import DatabaseFailure
from app.store.ledger_keys import LedgerKeys
from app.store.tables import SCHEMA_REVISION

_PACKAGE = Path(app.__file__).resolve().parent
SCRIPTS = next(folder for folder in (_PACKAGE / "alembic", _PACKAGE.parent / "alembic") if folder.is_dir())
"""The directory inside the package comes first: next to an installed package, `alembic` is the library Alembic."""
LATER = f"its tables are newer than this program, {app.__version__}; install the version that made them"


def upgrade(url: str, target: str = "head") -> None:
    """Apply the migrations up to `target`, all of them or none. Tables of a later version are refused."""
    database = Database(url)
    try:
        with database.writing() as connection:
            if not is_known(revision_of(connection)):
                raise ServiceError from DatabaseFailure(LATER)
            command.upgrade(configuration(connection), target)
    finally:
        database.dispose()


def is_known(revision: str | None) -> bool:
    """Whether this version has the migration `revision` and can change the tables. `None` is an empty database."""
    scripts = ScriptDirectory(str(SCRIPTS))
    return revision is None or revision in {script.revision for script in scripts.walk_revisions()}


def objection_to_tables(revision: str | None) -> str | None:
    """Why this version cannot use tables whose last migration is `revision`, or `None` if it can."""
    if revision == SCHEMA_REVISION:
        return None
    if not is_known(revision):
        return LATER
    tables = "it has no tables of this program" if revision is None else "its tables are those of an earlier version"
    return f"{tables}; to make them, run: python -m app migrate"


def downgrade(url: str, target: str, keys: LedgerKeys | None = None) -> None:
    """Undo the migrations down to `target`. The content of later tables is lost.

    Without `keys`, the secret file is beside the database.
    """
    database = Database(url, keys=keys)
    try:
        with database.writing() as connection:
            command.downgrade(configuration(connection), target)
    finally:
        database.dispose()


def configuration(connection: object) -> Config:
    """The configuration of Alembic for a connection that has an open transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
