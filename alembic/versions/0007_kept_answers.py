"""Kept answers: what a request with an Idempotency-Key was answered."""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def words(name: str) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=False)


def whole(name: str) -> sa.Column[int]:
    """A whole number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def octets(name: str) -> sa.Column[bytes]:
    """A hash, or an answer."""
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "kept_answers",
        whole("study"),
        words("client"),
        words("route"),
        octets("key"),
        octets("request"),
        whole("created_at"),
        whole("status"),
        words("headers"),
        octets("body"),
        sa.PrimaryKeyConstraint("study", "client", "route", "key", name=op.f("pk_kept_answers")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_kept_answers_study_studies")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_kept_answers_created_at"), "kept_answers", ["created_at"])


def downgrade() -> None:
    """Take it away; a request that is sent again is processed again, and finds its facts stored."""
    op.drop_table("kept_answers")
