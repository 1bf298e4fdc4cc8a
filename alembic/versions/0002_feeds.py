"""Feeds: names that clients gave to resources, those of erased patients, and by which key pseudonyms were made."""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def words(name: str, null: bool = False) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=null)


def key(name: str) -> sa.Column[int]:
    """The key of a row elsewhere."""
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, whole, nullable=False, autoincrement=False)


def octets(name: str) -> sa.Column[bytes]:
    """A tombstone."""
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "aliases",
        key("study"),
        words("resource"),
        words("alias"),
        key("patient_key"),
        words("kind", null=True),
        words("identity", null=True),
        sa.PrimaryKeyConstraint("study", "resource", "alias", name=op.f("pk_aliases")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_aliases_study_studies")),
        sa.ForeignKeyConstraint(["patient_key"], ["patients.key"], name=op.f("fk_aliases_patient_key_patients")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_aliases_patient_key"), "aliases", ["patient_key"])
    op.create_table(
        "erased_names",
        key("study"),
        octets("name"),
        octets("person"),
        sa.PrimaryKeyConstraint("study", "name", name=op.f("pk_erased_names")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_erased_names_study_studies")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pseudonym_keys",
        key("study"),
        words("fingerprint"),
        sa.PrimaryKeyConstraint("study", name=op.f("pk_pseudonym_keys")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_pseudonym_keys_study_studies")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take them away; pseudonyms stay, without a note of the key by which they were made."""
    op.drop_table("pseudonym_keys")
    op.drop_table("erased_names")
    op.drop_table("aliases")
