"""Receipts: what was said of each fact when it was stored."""

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FACTS = ("patient_attributes", "lab_results", "assessments", "infusions", "medications", "adverse_events")


def words(name: str) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=True)


def upgrade() -> None:
    """Add the notes."""
    for table in FACTS:
        op.add_column(table, words("notes"))


def downgrade() -> None:
    """Take the notes away."""
    for table in FACTS:
        op.drop_column(table, "notes")
