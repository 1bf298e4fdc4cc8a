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


def words(name: str, null: bool = False) -> sa.Column[str]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=null)


def octets(name: str, null: bool = False) -> sa.Column[bytes]:
    """A hash or a seal."""
    return sa.Column(name, sa.LargeBinary(), nullable=null)


def rename(old: str, new: str) -> None:
    """Rename a column of the studies. Since PostgreSQL 18, what keeps it from being empty has a name, too."""
    op.execute(f"ALTER TABLE studies RENAME COLUMN {old} TO {new}")
    named = sa.text("SELECT 1 FROM pg_constraint WHERE conname = :name").bindparams(name=f"studies_{old}_not_null")
    if op.get_bind().dialect.name == "postgresql" and op.get_bind().execute(named).first() is not None:
        op.execute(f"ALTER TABLE studies RENAME CONSTRAINT studies_{old}_not_null TO studies_{new}_not_null")


def upgrade() -> None:
    """Make the tables. The first start then locks the secrets of the studies, and seals their rows.

    The secrets get another name: a release before this one, which may still run, would take a locked secret for a plain
    one and break the chain. So it finds no secret and stores nothing.
    """
    rename("secret", "locked_secret")
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
        sqlite_strict=True,
    )

    op.create_table(
        "audit",
        whole("chain"),
        whole("number"),
        whole("at"),
        words("caller", null=True),
        words("address", null=True),
        words("door"),
        words("operation"),
        words("scope", null=True),
        whole("status", null=True),
        words("extent"),
        octets("patients", null=True),
        whole("first_revision", null=True),
        whole("revision", null=True),
        words("request", null=True),
        whole("count"),
        octets("hash"),
        sa.PrimaryKeyConstraint("chain", "number", name=op.f("pk_audit")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_audit_at_chain_number"), "audit", ["at", "chain", "number"])
    for statement in _TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


_TRIGGERS = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END"
        for event in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'rows of the audit are never changed'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ],
}


def downgrade() -> None:
    """Give the secrets of the studies back to the database, which needs the secret file, and take the tables away."""
    unlock_studies(op.get_bind())
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_change()")
    op.drop_table("study_seals")
    op.drop_table("secret_fingerprint")
    rename("locked_secret", "secret")
