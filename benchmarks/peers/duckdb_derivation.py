"""`duckdb_derivation.py FOLDER`: the derivation as one statement on tables of DuckDB, which chooses its threads."""

import sys
from pathlib import Path

import duckdb
from turns import take_turns

database = duckdb.connect()
for table in ("labs", "infusions"):
    database.execute(f"CREATE TABLE {table} AS SELECT * FROM '{sys.argv[1]}/{table}.parquet'")
statement = Path(__file__).with_name("derivation.sql").read_text(encoding="utf-8")
threads = database.execute("SELECT current_setting('threads')").fetchone()[0]


def derive() -> list:
    """The sums that both sides compare."""
    return [float(number) for number in database.execute(statement).fetchone()]


take_turns(f"DuckDB {duckdb.__version__}, {threads} threads, its own tables", derive)
