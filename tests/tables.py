"""A database with the tables of this version, for tests that are not about the migrations which make them."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from app.store import migrations


def with_tables(url: str) -> str:
    """Make the tables in an empty database, and give its URL back. In an SQLite file they are copied."""
    location = make_url(url)
    if location.get_backend_name() == "sqlite":
        with Path(str(location.database)).open("xb") as file:
            file.write(_migrated())
    else:
        migrations.upgrade(url)
    return url


@cache
def _migrated() -> bytes:
    """An SQLite file that the migrations made."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "x.db"
        migrations.upgrade(f"sqlite:///{file}")
        return file.read_bytes()
