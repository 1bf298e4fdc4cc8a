"""Bringing a database to the tables of this version, and back.

The scripts lie in `alembic/`: beside the package in a checkout, within it where it was installed. The configuration is
made here, so that it does not matter in which directory the process was started.
"""

from pathlib import Path

from alembic.config import Config

import app
from alembic import command
from app.store.engine import Database

_PACKAGE = Path(app.__file__).resolve().parent
SCRIPTS = next(each for each in (_PACKAGE / "alembic", _PACKAGE.parent / "alembic") if each.is_dir())
"""Looked for within the package first: what an environment has beside it under this name is the library."""


def upgrade(url: str, target: str = "head") -> None:
    """Apply the migrations up to `target`, all of them or none."""
    database = Database(url)
    try:
        with database.writing() as connection:
            command.upgrade(configuration(connection), target)
    finally:
        database.dispose()


def downgrade(url: str, target: str) -> None:
    """Undo the migrations down to `target`; what later tables held is lost."""
    database = Database(url)
    try:
        with database.writing() as connection:
            command.downgrade(configuration(connection), target)
    finally:
        database.dispose()


def configuration(connection: object) -> Config:
    """The configuration of Alembic for a connection that is in a transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
