"""Time budgets: how long a study has been active since its first trial."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Existing studies have no record of their pauses: the time of an active one counts from its first trial, that of others
# from now on.
FIRST_TRIAL = """
UPDATE study SET active_since = (SELECT min(created_at) FROM trial WHERE trial.study_id = study.id)
WHERE state = 'active'
"""


def upgrade() -> None:
    op.add_column("study", sa.Column("active_since", sa.BigInteger()))
    op.add_column("study", sa.Column("active_microseconds", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(FIRST_TRIAL)


def downgrade() -> None:
    op.drop_column("study", "active_microseconds")
    op.drop_column("study", "active_since")
