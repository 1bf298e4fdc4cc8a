"""Intake: the worklist of what was set aside, and counts of what arrived."""

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def words(name: str, null: bool = False) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=null)


def whole(name: str, null: bool = False) -> sa.Column[int]:
    """A whole number."""
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=null, autoincrement=False)


def octets(name: str, null: bool = False) -> sa.Column[bytes]:
    """A hash or a salt."""
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "set_aside",
        whole("study"),
        whole("number"),
        whole("added"),
        whole("removed", null=True),
        words("ending", null=True),
        whole("erased", null=True),
        octets("digest"),
        octets("ending_digest", null=True),
        octets("salt", null=True),
        *[words(name, null=True) for name in ("patient", "section", "code", "reason", "place", "sender", "format")],
        words("statement", null=True),
        octets("fact", null=True),
        octets("fingerprint", null=True),
        words("dismissal", null=True),
        words("comment", null=True),
        sa.PrimaryKeyConstraint("study", "number", name=op.f("pk_set_aside")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_set_aside_study_studies")),
        sa.CheckConstraint("removed > added", name=op.f("ck_set_aside_closed_later")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_set_aside_study_patient"), "set_aside", ["study", "patient"])
    op.create_table(
        "intake",
        whole("study"),
        *[words(name) for name in ("sender", "format", "subject", "reason", "code")],
        words("suggests", null=True),
        *[whole(name) for name in ("count", "first_seen", "last_seen")],
        sa.PrimaryKeyConstraint("study", "sender", "format", "subject", "reason", "code", name=op.f("pk_intake")),
        sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f("fk_intake_study_studies")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Take them away; revisions that set something aside cannot be verified any more."""
    op.drop_table("intake")
    op.drop_table("set_aside")
