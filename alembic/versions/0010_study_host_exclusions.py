"""Hosts that get no trials of one study, and which host faults concern one study alone."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "study_host_exclusion",
        sa.Column("study_id", sa.String(32), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("excluded_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name="fk_study_host_exclusion_study_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "host", name="pk_study_host_exclusion"),
    )
    op.add_column("attempt", sa.Column("fault_scope", sa.String(8)))


def downgrade() -> None:
    with op.batch_alter_table("attempt") as batch:
        batch.drop_column("fault_scope")
    op.drop_table("study_host_exclusion")
