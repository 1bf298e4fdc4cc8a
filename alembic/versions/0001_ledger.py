"""The ledger: studies, their revisions and protocols, patients and their facts."""

from typing import Any

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STANDS = sa.text("removed IS NULL")
TABLES = (
    "studies",
    "study_facts",
    "protocols",
    "revisions",
    "leaves",
    "patients",
    "erasures",
    "patient_attributes",
    "lab_results",
    "assessments",
    "infusions",
    "medications",
    "adverse_events",
)


def whole(name: str, null: bool = False, **more: Any) -> sa.Column[Any]:  # noqa: ANN401 - as of sa.Column
    """A 64-bit integer."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=null, **more)


def words(name: str, null: bool = False) -> sa.Column[Any]:
    """Text that is ordered by code point."""
    return sa.Column(name, sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=null)


def number(name: str) -> sa.Column[Any]:
    """A double, which may be absent."""
    return sa.Column(name, sa.Double().with_variant(sa.REAL(), "sqlite"))


def flag(name: str, null: bool = False) -> sa.Column[Any]:
    """A truth value."""
    return sa.Column(name, sa.Boolean().with_variant(sa.Integer(), "sqlite"), nullable=null)


def octets(name: str) -> sa.Column[Any]:
    """A hash or a key."""
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def in_study(table: str) -> sa.ForeignKeyConstraint:
    """The study that a row belongs to."""
    return sa.ForeignKeyConstraint(["study"], ["studies.key"], name=op.f(f"fk_{table}_study_studies"))


def stands_once(table: str, *columns: str) -> None:
    """Of each fact at most one row stands."""
    op.create_index(f"ux_{table}_current", table, columns, unique=True, sqlite_where=STANDS, postgresql_where=STANDS)


def facts(table: str, *content: sa.Column[Any], finite: tuple[str, ...] = ()) -> None:
    """A table of assertions."""
    op.create_table(
        table,
        whole("patient_key", autoincrement=False),
        words("identity"),
        whole("added", autoincrement=False),
        whole("ordinal", autoincrement=False, server_default=sa.text("0")),
        whole("removed", null=True),
        words("source", null=True),
        words("id", null=True),
        whole("version", null=True),
        whole("issued", null=True),
        words("status"),
        *content,
        sa.PrimaryKeyConstraint("patient_key", "identity", "added", "ordinal", name=op.f(f"pk_{table}")),
        *(
            sa.CheckConstraint(f"{name} BETWEEN -1e308 AND 1e308", name=op.f(f"ck_{table}_{name}_finite"))
            for name in finite
        ),
        sa.CheckConstraint("removed >= added", name=op.f(f"ck_{table}_closed_later")),
        sa.ForeignKeyConstraint(["patient_key"], ["patients.key"], name=op.f(f"fk_{table}_patient_key_patients")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    stands_once(table, "patient_key", "identity")


def upgrade() -> None:
    """Create every table."""
    studies_and_revisions()
    patients_and_erasures()
    every_kind_of_fact()


def downgrade() -> None:
    """Drop every table."""
    for table in reversed(TABLES):
        op.drop_table(table)


def studies_and_revisions() -> None:
    """What a study says of itself, and the chain of its revisions."""
    op.create_table(
        "studies",
        whole("key"),
        words("id"),
        whole("created_at"),
        octets("secret"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_studies")),
        sa.UniqueConstraint("id", name=op.f("uq_studies_id")),
        sqlite_strict=True,
    )
    op.create_table(
        "study_facts",
        whole("key"),
        whole("study"),
        words("name"),
        words("value"),
        whole("added"),
        whole("removed", null=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_study_facts")),
        sa.CheckConstraint("removed > added", name=op.f("ck_study_facts_closed_later")),
        in_study("study_facts"),
        sqlite_strict=True,
    )
    stands_once("study_facts", "study", "name")
    op.create_table(
        "protocols",
        whole("key"),
        whole("study"),
        words("id"),
        words("digest"),
        words("document"),
        whole("added"),
        whole("removed", null=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_protocols")),
        sa.CheckConstraint("removed > added", name=op.f("ck_protocols_closed_later")),
        in_study("protocols"),
        sqlite_strict=True,
    )
    stands_once("protocols", "study")
    op.create_table(
        "revisions",
        whole("study", autoincrement=False),
        whole("number", autoincrement=False),
        whole("received_at"),
        words("client", null=True),
        words("format"),
        words("counts"),
        whole("patients"),
        whole("first_outcome", null=True),
        octets("digest"),
        octets("previous_hash"),
        octets("hash"),
        sa.PrimaryKeyConstraint("study", "number", name=op.f("pk_revisions")),
        in_study("revisions"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leaves",
        whole("study", autoincrement=False),
        whole("number", autoincrement=False),
        whole("patient_key", autoincrement=False),
        octets("leaf"),
        sa.PrimaryKeyConstraint("study", "number", "patient_key", name=op.f("pk_leaves")),
        sa.ForeignKeyConstraint(
            ["study", "number"], ["revisions.study", "revisions.number"], name=op.f("fk_leaves_study_number_revisions")
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def patients_and_erasures() -> None:
    """Who is known, and who no longer is."""
    op.create_table(
        "patients",
        whole("key", autoincrement=False),
        whole("study"),
        words("id"),
        octets("salt"),
        whole("first_revision"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_patients")),
        sa.UniqueConstraint("study", "id", name=op.f("uq_patients_study_id")),
        in_study("patients"),
        sqlite_strict=True,
    )
    op.create_table(
        "erasures",
        whole("study", autoincrement=False),
        whole("erased_revision", autoincrement=False),
        whole("first_revision"),
        whole("readmitted_revision", null=True),
        octets("tombstone"),
        whole("patient_key"),
        sa.PrimaryKeyConstraint("study", "erased_revision", name=op.f("pk_erasures")),
        sa.CheckConstraint("first_revision < erased_revision", name=op.f("ck_erasures_known_before")),
        sa.CheckConstraint("readmitted_revision > erased_revision", name=op.f("ck_erasures_readmitted_later")),
        in_study("erasures"),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_erasures_study_tombstone"), "erasures", ["study", "tombstone"])


def every_kind_of_fact() -> None:
    """Attributes, results, scores, infusions, drugs and events."""
    facts("patient_attributes", words("value"))
    facts(
        "lab_results",
        words("code"),
        words("time"),
        whole("day"),
        whole("instant", null=True),
        flag("utc"),
        number("value"),
        number("upper_limit"),
        number("lower_limit"),
        words("comparator", null=True),
        words("unit", null=True),
        number("given_value"),
        number("given_upper_limit"),
        number("given_lower_limit"),
        words("lab", null=True),
        finite=("value", "upper_limit"),
    )
    facts(
        "assessments",
        words("code"),
        words("time"),
        whole("day"),
        whole("instant", null=True),
        flag("utc"),
        number("score"),
        number("scale_max"),
        finite=("score",),
    )
    facts(
        "infusions",
        words("time"),
        whole("day"),
        whole("instant", null=True),
        flag("utc"),
        words("product"),
        number("dose"),
        words("unit", null=True),
        whole("course", null=True),
        finite=("dose",),
    )
    facts(
        "medications",
        words("drug"),
        whole("start_day"),
        whole("end_day", null=True),
        number("dose"),
        words("unit", null=True),
        finite=("dose",),
    )
    facts(
        "adverse_events",
        words("onset", null=True),
        whole("day", null=True),
        whole("instant", null=True),
        flag("utc"),
        words("term"),
        words("severity", null=True),
        flag("serious", null=True),
        words("related", null=True),
    )
