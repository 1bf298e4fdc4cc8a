"""Receipts: what was said of each fact when it was stored, and the draws of numbers that are used more than once.

What stands does not change. But the first release knew no draws: of two results of one number at different times it let
one stand, whatever the rule says now. The other one is marked, so that it does not stand suddenly because of an
unrelated message; it counts when it is sent again. Facts that a timeline left out are marked, too.
"""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STANDS = sa.text("removed IS NULL")
FACTS = ("patient_attributes", "lab_results", "assessments", "infusions", "medications", "adverse_events")

LEFT_OUT = """
    UPDATE {table} SET mark = 'left_out' WHERE EXISTS (
        SELECT 1 FROM {table} AS ended
        WHERE ended.patient_key = {table}.patient_key AND ended.identity = {table}.identity
          AND ended.removed > ended.added AND ended.removed > {table}.added
          AND NOT EXISTS (
              SELECT 1 FROM {table} AS next
              WHERE next.patient_key = ended.patient_key AND next.identity = ended.identity
                AND next.added = ended.removed AND (next.removed IS NULL OR next.removed > next.added)))
"""
"""What was stored before a timeline left the fact out: the assertion that stood ended, and no other took its place."""

REPLACED = """
    UPDATE {table} SET mark = 'replaced' WHERE mark = 'left_out' AND EXISTS (
        SELECT 1 FROM {table} AS later
        WHERE later.patient_key = {table}.patient_key AND later.identity = {table}.identity
          AND later.added >= {table}.removed AND later.mark IS NULL
          AND (later.removed IS NULL OR later.removed > later.added))
"""
"""The same, where the fact stood again later."""

OVERWRITTEN = """
    UPDATE {table} SET mark = 'overwritten'
    WHERE mark IS NULL AND removed IS NOT NULL AND identity LIKE '#%' AND EXISTS (
        SELECT 1 FROM {table} AS standing
        WHERE standing.patient_key = {table}.patient_key AND standing.identity = {table}.identity
          AND standing.removed IS NULL AND ({other_time}))
"""
OTHER_MINUTE = """
    standing.instant / 60000000 <> {table}.instant / 60000000
    OR (standing.instant IS NULL OR {table}.instant IS NULL) AND standing.day <> {table}.day
"""
OTHER_DAY = "standing.start_day <> {table}.start_day"
"""What does not stand, because another time of the same number does."""


def words(name: str) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=True)


def draw() -> sa.Column[str]:
    """The name of a draw; that of the first draw of a number is empty."""
    text = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
    return sa.Column("draw", text, nullable=False, server_default=sa.text("''"))


def stands_once(table: str, *columns: str) -> None:
    """Of each draw at most one row stands."""
    name = f"ux_{table}_current"
    op.drop_index(name, table)
    op.create_index(name, table, columns, unique=True, sqlite_where=STANDS, postgresql_where=STANDS)


def upgrade() -> None:
    """Add the notes, the draws and the marks."""
    for table in FACTS:
        op.add_column(table, words("notes"))
        op.add_column(table, draw())
        op.add_column(table, words("mark"))
        stands_once(table, "patient_key", "identity", "draw")
    for table in FACTS[1:]:
        op.execute(LEFT_OUT.format(table=table))
        op.execute(REPLACED.format(table=table))
        other_time = OTHER_DAY if table == "medications" else OTHER_MINUTE
        op.execute(OVERWRITTEN.format(table=table, other_time=other_time.format(table=table)))
    op.add_column("aliases", draw())


def downgrade() -> None:
    """Take them away. Of several draws of one number that stand, the first one stays."""
    op.drop_column("aliases", "draw")
    for table in FACTS:
        op.execute(
            f"UPDATE {table} SET removed = added WHERE removed IS NULL AND EXISTS (SELECT 1 FROM {table} AS first "  # noqa: S608 - names of tables
            f"WHERE first.patient_key = {table}.patient_key AND first.identity = {table}.identity "
            f"AND first.removed IS NULL AND first.draw < {table}.draw)"
        )
        stands_once(table, "patient_key", "identity")
        for column in ("mark", "draw", "notes"):
            op.drop_column(table, column)
