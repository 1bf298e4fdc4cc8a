"""Pages are asked of the applications that the tests of the API and of the keys use."""

from tests.access.conftest import migrated, service, start, url
from tests.api.conftest import (
    anywhere,
    client,
    migrated_database,
    migrated_file,
    migrated_postgres_url,
    migrated_url,
    serve,
    sqlite_url,
)
from tests.journeys.conftest import demo

__all__ = [
    "anywhere", "client", "demo", "migrated", "migrated_database", "migrated_file", "migrated_postgres_url",
    "migrated_url", "serve", "service", "sqlite_url", "start", "url",
]  # fmt: skip
