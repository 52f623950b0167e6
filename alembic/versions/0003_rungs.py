"""Rung results of trials under a scheduler, and a notice for users about a study."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("study", sa.Column("notice", sa.Text()))
    op.add_column("trial", sa.Column("arrivals", JSON, server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("trial", "arrivals")
    op.drop_column("study", "notice")
