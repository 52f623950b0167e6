"""Warm start: the prior trials from other studies, stored as they were when the study began."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "lesson",
        sa.Column("study_id", sa.String(32), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.String(32), nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], "fk_lesson_study_id_study", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "ordinal", name="pk_lesson"),
    )


def downgrade() -> None:
    op.drop_table("lesson")
