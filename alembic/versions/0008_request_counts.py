"""Request counts: what several processes share to limit the rate of a client."""

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def whole(name: str) -> sa.Column[int]:
    """A whole number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=False, autoincrement=False)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "request_counts",
        sa.Column("counter", sa.LargeBinary(), nullable=False),
        whole("count"),
        whole("expires_at"),
        sa.PrimaryKeyConstraint("counter", name=op.f("pk_request_counts")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_request_counts_expires_at"), "request_counts", ["expires_at"])


def downgrade() -> None:
    """Take it away; each process counts by itself."""
    op.drop_table("request_counts")
