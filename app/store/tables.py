"""The tables of the database. Every table, column and constraint is declared here, once.

Times are 64-bit integers: microseconds since 1970-01-01T00:00Z or days since 1970-01-01. Text is ordered by code
point on both databases: SQLite's default, `COLLATE "C"` on PostgreSQL. A fact has one row for each assertion. `added`
is the revision that stored it, `removed` the revision from which it no longer stands. Rows are added, closed and
marked, never changed otherwise; only the erasure of a person deletes rows. The columns of a fact table after `removed`
are the fields of its kind in the schema of facts (`timeline.facts`), and the notes, the draw and the mark.
"""

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.event import listen

from app.timeline.facts import FACT_TYPES, FIELDS, FINITE, AnyFact

SCHEMA_REVISION = "0009"
"""The last migration, which gives these tables. A test compares it with the scripts in `alembic/`."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# STRICT tables on SQLite have five types. Each type here names the one that it has on SQLite.
WHOLE = BigInteger().with_variant(Integer(), "sqlite")
WORDS = Text(collation="C").with_variant(Text(), "sqlite")
NUMBER: Any = Double().with_variant(REAL(), "sqlite")
FLAG = Boolean(create_constraint=False).with_variant(Integer(), "sqlite")
BYTES = LargeBinary()


def _table(name: str, *parts: Any) -> Table:  # noqa: ANN401 - columns, constraints and indexes have no common type
    return Table(name, metadata, *parts, sqlite_strict=True)


def _clustered(name: str, *parts: Any) -> Table:  # noqa: ANN401
    """A table that SQLite stores in the order of its primary key: the facts of one patient are close together."""
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_with_rowid=False)


studies = _table(
    "studies",
    Column("key", WHOLE, primary_key=True),
    Column("id", WORDS, nullable=False, unique=True),
    Column("created_at", WHOLE, nullable=False),
    Column("locked_secret", BYTES, nullable=False),
)
"""The secret keys the hash chain and the tombstones of the study. It is locked with the secret file (`ledger_keys`).

Releases that cannot unlock it look for a column of another name, so that they store nothing.
"""

secret_fingerprint = _table(
    "secret_fingerprint",
    Column("key", WHOLE, primary_key=True, autoincrement=False),
    Column("fingerprint", BYTES, nullable=False),
    Column("database", BYTES, nullable=False),
    CheckConstraint("key = 1", name="one_row"),
)
"""Which secret file the ledger was made with. `database` is a random name, by which the heads outside know theirs."""

study_seals = _table(
    "study_seals",
    Column("study", WHOLE, primary_key=True, autoincrement=False),
    Column("changes", WHOLE, nullable=False),
    Column("seal", BYTES, nullable=False),
)
"""One keyed sum over the rows of a study that no leaf covers, and one with the key 0 over the API keys (`seals`);
`changes` counts how often it changed.
"""

study_facts = _table(
    "study_facts",
    Column("key", WHOLE, primary_key=True),
    Column("study", WHOLE, ForeignKey(studies.c.key), nullable=False),
    Column("name", WORDS, nullable=False),
    Column("value", WORDS, nullable=False),
    Column("added", WHOLE, nullable=False),
    Column("removed", WHOLE),
    CheckConstraint("removed > added", name="closed_later"),
    Index("ux_study_facts_current", "study", "name", unique=True,
          sqlite_where=text("removed IS NULL"), postgresql_where=text("removed IS NULL")),
)  # fmt: skip
"""Name, time zone and kind of a study; `value` is JSON text."""

protocols = _table(
    "protocols",
    Column("key", WHOLE, primary_key=True),
    Column("study", WHOLE, ForeignKey(studies.c.key), nullable=False),
    Column("id", WORDS, nullable=False),
    Column("digest", WORDS, nullable=False),
    Column("document", WORDS, nullable=False),
    Column("added", WHOLE, nullable=False),
    Column("removed", WHOLE),
    CheckConstraint("removed > added", name="closed_later"),
    Index("ux_protocols_current", "study", unique=True,
          sqlite_where=text("removed IS NULL"), postgresql_where=text("removed IS NULL")),
)  # fmt: skip

revisions = _clustered(
    "revisions",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True),
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("received_at", WHOLE, nullable=False),
    Column("client", WORDS),
    Column("format", WORDS, nullable=False),
    Column("counts", WORDS, nullable=False),
    Column("patients", WHOLE, nullable=False),
    Column("first_outcome", WHOLE),
    Column("digest", BYTES, nullable=False),
    Column("previous_hash", BYTES, nullable=False),
    Column("hash", BYTES, nullable=False),
)
"""`patients` is the number of patients after this revision. `first_outcome` is the revision with the first outcome."""

leaves = _clustered(
    "leaves",
    Column("study", WHOLE, primary_key=True, autoincrement=False),
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("patient_key", WHOLE, primary_key=True, autoincrement=False),
    Column("leaf", BYTES, nullable=False),
    ForeignKeyConstraint(["study", "number"], [revisions.c.study, revisions.c.number]),
)
"""What one revision did to one patient, as a hash with the patient's salt. `patient_key` is 0 for the study itself."""

patients = _table(
    "patients",
    Column("key", WHOLE, primary_key=True, autoincrement=False),
    Column("study", WHOLE, ForeignKey(studies.c.key), nullable=False),
    Column("id", WORDS, nullable=False),
    Column("salt", BYTES, nullable=False),
    Column("first_revision", WHOLE, nullable=False),
    UniqueConstraint("study", "id"),
)
"""`key` depends only on the time when the patient was first stored. No key is given twice."""

erasures = _table(
    "erasures",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("erased_revision", WHOLE, primary_key=True, autoincrement=False),
    Column("first_revision", WHOLE, nullable=False),
    Column("readmitted_revision", WHOLE),
    Column("tombstone", BYTES, nullable=False),
    Column("patient_key", WHOLE, nullable=False),
    CheckConstraint("first_revision < erased_revision", name="known_before"),
    CheckConstraint("readmitted_revision > erased_revision", name="readmitted_later"),
    Index(None, "study", "tombstone"),
)

client_ids = _clustered(
    "aliases",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("resource", WORDS, primary_key=True),
    Column("alias", WORDS, primary_key=True),
    Column("patient_key", WHOLE, ForeignKey(patients.c.key), nullable=False),
    Column("kind", WORDS),
    Column("identity", WORDS),
    Column("draw", WORDS, nullable=False, server_default=text("''")),
    Index(None, "patient_key"),
)
"""Client ids (`PUT /Observation/{id}`), and the patient or the draw of a fact that each of them names."""

erased_names = _clustered(
    "erased_names",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("name", BYTES, primary_key=True),
    Column("person", BYTES, nullable=False),
)
"""Client ids of erased patients, each as a tombstone, with the tombstone of the person.

A reference by one of these ids must not store the person again.
"""

pseudonym_keys = _clustered(
    "pseudonym_keys",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("fingerprint", WORDS, nullable=False),
)
"""The fingerprint of the key that made the pseudonyms of a study. The key itself is never stored."""

set_aside = _clustered(
    "set_aside",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("added", WHOLE, nullable=False),
    Column("removed", WHOLE),
    Column("ending", WORDS),
    Column("erased", WHOLE),
    Column("digest", BYTES, nullable=False),
    Column("ending_digest", BYTES),
    Column("salt", BYTES),
    Column("patient", WORDS),
    Column("section", WORDS),
    Column("code", WORDS),
    Column("reason", WORDS),
    Column("place", WORDS),
    Column("sender", WORDS),
    Column("format", WORDS),
    Column("statement", WORDS),
    Column("fact", BYTES),
    Column("fingerprint", BYTES),
    Column("dismissal", WORDS),
    Column("comment", WORDS),
    CheckConstraint("removed > added", name="closed_later"),
    Index(None, "study", "patient"),
)
"""The worklist of a study: what was set aside, and how it ended. The erasure of a person empties the columns after
`ending_digest`; the digests, made with the salt, remain in the leaf of the study.

`fact` is a keyed hash of which fact an item is about, `fingerprint` one of everything that was sent of it. `statement`
is JSON text: where the history of the patient has the statement, if the ledger has it.
"""

intake = _clustered(
    "intake",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("sender", WORDS, primary_key=True),
    Column("format", WORDS, primary_key=True),
    Column("subject", WORDS, primary_key=True),
    Column("reason", WORDS, primary_key=True),
    Column("code", WORDS, primary_key=True),
    Column("suggests", WORDS),
    Column("count", WHOLE, nullable=False),
    Column("first_seen", WHOLE, nullable=False),
    Column("last_seen", WHOLE, nullable=False),
)
"""How much of what arrived. No hash covers these counts. A text is empty if there is none."""

kept_answers = _clustered(
    "kept_answers",
    Column("study", WHOLE, ForeignKey(studies.c.key), primary_key=True, autoincrement=False),
    Column("client", WORDS, primary_key=True),
    Column("route", WORDS, primary_key=True),
    Column("key", BYTES, primary_key=True),
    Column("request", BYTES, nullable=False),
    Column("created_at", WHOLE, nullable=False, index=True),
    Column("status", WHOLE, nullable=False),
    Column("headers", WORDS, nullable=False),
    Column("body", BYTES, nullable=False),
    Column("patients", BYTES),
)
"""The answers to requests with an `Idempotency-Key`, for a day (`kept_answers.py`). No hash covers them. `patients` are
the numbers that the audit has for the patients of the answer.
"""

api_keys = _clustered(
    "api_keys",
    Column("prefix", WORDS, primary_key=True),
    Column("hash", BYTES, nullable=False),
    Column("name", WORDS, nullable=False),
    Column("scopes", WORDS, nullable=False),
    Column("studies", WORDS),
    Column("created_at", WHOLE, nullable=False),
    Column("expires_at", WHOLE),
    Column("revoked_at", WHOLE),
    Column("last_used_at", WHOLE),
    Column("successor", WORDS),
    Column("seal", BYTES),
    Column("sessions_after", WHOLE),
)
"""The keys of clients. `hash` is keyed, so that nobody can make a key from a copy of the database. `scopes` and
`studies` are JSON lists; without `studies` a key is good for all. `successor` is the prefix of the key that a rotation
made. Sessions that were made up to `sessions_after` have ended. `seal` is a keyed hash of the row: with each use it
shows that nobody made a key live again. All but the last use, this hash and the end of sessions is also part of the
seal of all keys (`seals`).
"""

request_counts = _clustered(
    "request_counts",
    Column("counter", BYTES, primary_key=True),
    Column("count", WHOLE, nullable=False),
    Column("expires_at", WHOLE, nullable=False, index=True),
)
"""How many requests clients sent, for processes that limit rates together (`request_counts.py`). No hash covers it."""

audit = _clustered(
    "audit",
    Column("chain", WHOLE, primary_key=True, autoincrement=False),
    Column("number", WHOLE, primary_key=True, autoincrement=False),
    Column("at", WHOLE, nullable=False),
    Column("caller", WORDS),
    Column("address", WORDS),
    Column("door", WORDS, nullable=False),
    Column("operation", WORDS, nullable=False),
    Column("scope", WORDS),
    Column("status", WHOLE),
    Column("extent", WORDS, nullable=False),
    Column("patients", BYTES),
    Column("first_revision", WHOLE),
    Column("revision", WHOLE),
    Column("request", WORDS),
    Column("count", WHOLE, nullable=False),
    Column("hash", BYTES, nullable=False),
    Index(None, "at", "chain", "number"),
)
"""Who read or wrote what (`audit`). `chain` is the key of the study, 0 for none. A write has its revisions and no
status. `patients` are keyed numbers, 16 bytes each. Triggers refuse to change or delete a row.
"""
_NEVER_CHANGED = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'rows of the audit are never changed'); END"
        for event in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN RAISE EXCEPTION 'rows of the audit are never changed'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ],
}
for _dialect, _statements in _NEVER_CHANGED.items():
    for _statement in _statements:
        ddl: Any = DDL  # it has no types
        listen(audit, "after_create", ddl(_statement).execute_if(dialect=_dialect))

_STORED_AS: dict[type, Any] = {str: WORDS, int: WHOLE, float: NUMBER, bool: FLAG}


def _fact_table(kind: str, name: str) -> Table:
    """A table of assertions of one kind. Of one draw of one identity, at most one assertion stands at a time.

    A revision may store several assertions of one identity. `ordinal` numbers them. `notes` is JSON text: what the
    receipt said of the fact. `draw` names the draw to which the assertion belongs, and `mark` is what the number rule
    must know of it (`assertions.RuleMark`). No hash covers these three.
    """
    _, *content = FIELDS[kind]
    return _clustered(
        name,
        Column("patient_key", WHOLE, ForeignKey(patients.c.key), primary_key=True, autoincrement=False),
        Column("identity", WORDS, primary_key=True),
        Column("added", WHOLE, primary_key=True, autoincrement=False),
        Column("ordinal", WHOLE, primary_key=True, autoincrement=False, server_default=text("0")),
        Column("removed", WHOLE),
        *[Column(field.name, _STORED_AS[field.type], nullable=field.optional) for field in content],
        Column("notes", WORDS),
        Column("draw", WORDS, nullable=False, server_default=text("''")),
        Column("mark", WORDS),
        *[_finite(field.name) for field in content if FINITE in field.marks],
        CheckConstraint("removed >= added", name="closed_later"),
        Index(f"ux_{name}_current", "patient_key", "identity", "draw", unique=True,
              sqlite_where=text("removed IS NULL"), postgresql_where=text("removed IS NULL")),
    )  # fmt: skip


def _finite(column: str) -> CheckConstraint:
    """A constraint that infinity and NaN do not meet, on both databases."""
    return CheckConstraint(f"{column} BETWEEN -1e308 AND 1e308", name=f"{column}_finite")


_NAMES = {
    "attributes": "patient_attributes",
    "labs": "lab_results",
    "assessments": "assessments",
    "infusions": "infusions",
    "medications": "medications",
    "events": "adverse_events",
}
FACTS: dict[str, tuple[Table, type[AnyFact]]] = {
    kind: (_fact_table(kind, _NAMES[kind]), fact) for kind, fact in FACT_TYPES.items()
}
"""For each kind of `History.kinds()`: its table, and the type of its facts."""

patient_attributes = FACTS["attributes"][0]
