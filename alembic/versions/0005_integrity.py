"""Integrity: keys outside the database, seals over what no leaf covers, and the audit."""

import sqlalchemy as sa

from alembic import op
from app.store.ledger_keys import unlock_studies

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def whole(name: str, null: bool = False) -> sa.Column[int]:
    """A whole number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=null, autoincrement=False)


def octets(name: str, null: bool = False) -> sa.Column[bytes]:
    """A hash or a seal."""
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def upgrade() -> None:
    """Make the tables. The first start then locks the secrets of the studies, and seals their rows."""
    op.create_table(
        "secret_fingerprint",
        whole("key"),
        octets("fingerprint"),
        octets("database"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_secret_fingerprint")),
        sa.CheckConstraint("key = 1", name=op.f("ck_secret_fingerprint_one_row")),
        sqlite_strict=True,
    )
    op.create_table(
        "study_seals",
        whole("study"),
        whole("changes"),
        octets("seal"),
        sa.PrimaryKeyConstraint("study", name=op.f("pk_study_seals")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_study_seals_study_studies")),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Give the secrets of the studies back to the database, which needs the secret file, and take the tables away."""
    unlock_studies(op.get_bind())
    op.drop_table("study_seals")
    op.drop_table("secret_fingerprint")
