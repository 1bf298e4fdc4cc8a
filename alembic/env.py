"""Run Alembic in one transaction: the one of `app.store.migrations`, or a new one for the command `alembic`."""

from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from alembic import context
from app.settings import Settings
from app.store.engine import Database
from app.store.ledger_keys import LedgerKeys
from app.store.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations in the transaction of this connection."""
    if connection.dialect.name == "postgresql":
        # Several processes may start at the same time. The second one waits here, and then has nothing to do.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20080118)")
        # Every writer locks its study first. Waiting for all of them here keeps the migrations and a writer from each
        # waiting for the other.
        if inspect(connection).has_table("studies"):
            connection.exec_driver_sql("LOCK TABLE studies")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=False,
        compare_server_default=True,
    )
    context.run_migrations()


if context.is_offline_mode():
    raise CommandError("These migrations need a database. They cannot be written as a script of SQL (--sql).")
if (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    settings = Settings()
    database = Database(settings.database_url, keys=LedgerKeys(settings.secret_path))
    try:
        with database.writing() as opened:
            run(opened)
    finally:
        database.dispose()
