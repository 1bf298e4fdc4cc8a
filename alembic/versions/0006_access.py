"""API keys: who may call, as hashes."""

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def words(name: str, null: bool = False) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=null)


def whole(name: str, null: bool = False) -> sa.Column[int]:
    """A whole number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=null, autoincrement=False)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "api_keys",
        words("prefix"),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        words("name"),
        words("scopes"),
        words("studies", null=True),
        whole("created_at"),
        whole("expires_at", null=True),
        whole("revoked_at", null=True),
        whole("last_used_at", null=True),
        words("successor", null=True),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_api_keys")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take it away; every key is lost."""
    op.drop_table("api_keys")
