"""Mid-epoch checkpoints: finished batches of the next step, for a checkpoint and for where an attempt resumed."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

IS_MIDDLE = "SELECT artifact_id FROM checkpoint WHERE batch > 0"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("resume_batch", sa.BigInteger(), server_default="0", nullable=False))
    with op.batch_alter_table("checkpoint") as checkpoint:
        checkpoint.add_column(sa.Column("batch", sa.BigInteger(), server_default="0", nullable=False))
        checkpoint.drop_constraint("pk_checkpoint", type_="primary")
        checkpoint.create_primary_key("pk_checkpoint", ["trial_id", "attempt", "step", "batch"])


def downgrade() -> None:
    op.execute(f"DELETE FROM artifact WHERE id IN ({IS_MIDDLE})")
    op.execute("DELETE FROM checkpoint WHERE batch > 0")
    with op.batch_alter_table("checkpoint") as checkpoint:
        checkpoint.drop_constraint("pk_checkpoint", type_="primary")
        checkpoint.create_primary_key("pk_checkpoint", ["trial_id", "attempt", "step"])
        checkpoint.drop_column("batch")
    op.drop_column("attempt", "resume_batch")
