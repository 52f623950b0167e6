"""Deleted studies: hidden at once, their rows removed later; adds indexes to find rows that refer to a removed row."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INDEXES = (
    ("claim", ["trial_id", "attempt"]),
    ("checkpoint", ["artifact_id"]),
    ("enqueued", ["trial_id"]),
    ("trial", ["parent_id"]),
)


def upgrade() -> None:
    op.add_column("study", sa.Column("deleted_at", sa.BigInteger()))
    for table, columns in INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def downgrade() -> None:
    for table, columns in INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
    with op.batch_alter_table("study") as batch:
        batch.drop_column("deleted_at")
