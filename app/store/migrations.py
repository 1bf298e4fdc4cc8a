"""Migrate a database to the tables of this version, or back.

The scripts are in the directory `alembic/`: next to the package in a checkout, inside the package where it is
installed. The configuration is made here, so that the process may start in any directory.
"""

from pathlib import Path

from alembic.config import Config

import app
from alembic import command
from app.store.engine import Database

_PACKAGE = Path(app.__file__).resolve().parent
SCRIPTS = next(folder for folder in (_PACKAGE / "alembic", _PACKAGE.parent / "alembic") if folder.is_dir())
"""The directory inside the package comes first: next to an installed package, `alembic` is the library Alembic."""


def upgrade(url: str, target: str = "head") -> None:
    """Apply the migrations up to `target`, all of them or none."""
    database = Database(url)
    try:
        with database.writing() as connection:
            command.upgrade(configuration(connection), target)
    finally:
        database.dispose()


def downgrade(url: str, target: str) -> None:
    """Undo the migrations down to `target`. The content of later tables is lost."""
    database = Database(url)
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
