"""Sealed keys: what the service looks at with each use of a key is in a hash; kept answers say whose data they have."""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NEW = (("api_keys", "seal"), ("api_keys", "sessions_after"), ("kept_answers", "patients"))


def upgrade() -> None:
    """Add the columns. The next start seals the keys that there are."""
    op.add_column("api_keys", sa.Column("seal", sa.LargeBinary(), nullable=True))
    whole = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("api_keys", sa.Column("sessions_after", whole, nullable=True))
    op.add_column("kept_answers", sa.Column("patients", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Take them away; a session that was ended is valid again until its hour is over."""
    for table, column in reversed(_NEW):
        op.drop_column(table, column)
