"""How Alembic runs here: on the connection and in the transaction that `app.store.migrations` opened."""

from alembic import context
from app.store.tables import metadata

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    # Several processes may start at once; the one that comes second finds nothing left to do.
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20080118)")
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=False)
context.run_migrations()
