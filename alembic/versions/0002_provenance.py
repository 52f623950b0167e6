"""Provenance: a study's code and data fingerprints, and warnings about an attempt."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("study", sa.Column("code_fingerprint", sa.String(length=64), nullable=True))
    op.add_column("study", sa.Column("data_fingerprint", sa.String(length=64), nullable=True))
    op.add_column("attempt", sa.Column("warnings", JSON, nullable=True))


def downgrade() -> None:
    op.drop_column("attempt", "warnings")
    op.drop_column("study", "data_fingerprint")
    op.drop_column("study", "code_fingerprint")
