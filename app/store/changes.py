"""Whether anything was committed to the database since a moment, by any process: one cheap look, no table is read.

SQLite counts for each connection how often others have committed (`PRAGMA data_version`). PostgreSQL names the
transactions that a reader would see (`pg_current_snapshot`): two equal snapshots see the same data. Commits that change
nothing of a study count as well; then it is only looked again.
"""

from typing import Any

from app.store.engine import Database

Mark = tuple[int, str]
"""A state of the database. Two equal marks of one `DatabaseChanges` mean that nothing was committed between them."""
_LOOKS = {"sqlite": "PRAGMA data_version", "postgresql": "SELECT pg_current_snapshot()::text"}


class DatabaseChanges:
    """Looks with a connection of its own, which never writes. One thread at a time may use it."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._driver: Any = None
        self._opened = 0
        self._look = _LOOKS[self._engine.dialect.name]
        self.waits = self._engine.dialect.name != "sqlite"
        """Whether a look waits for a server, so that it must not be done in an event loop."""

    def mark(self) -> Mark | None:
        """The state of the database now; `None` if that is not known, for whatever reason."""
        try:
            driver = self._driver or self._opened_connection()
            return self._opened, str(driver.execute(self._look).fetchall()[0][0])
        except Exception:  # the database itself says later what is wrong with it
            self.close()
            return None

    def close(self) -> None:
        """Close the connection; the next look opens another one, whose marks equal none of before."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    def _opened_connection(self) -> Any:  # noqa: ANN401 - a connection of either driver
        pooled = self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()  # the pool opens another one in its place
        if self.waits:
            driver.autocommit = True
        else:
            driver.execute("PRAGMA busy_timeout=0")
        self._opened += 1
        self._driver = driver
        return driver
