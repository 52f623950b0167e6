"""The plain loss that decides between trials with equal final values; unknown for trials that ended before."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trial", sa.Column("tie_break_loss", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("trial", "tie_break_loss")
