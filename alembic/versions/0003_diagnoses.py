"""Diagnoses: what the rules found about each trial and about each study, and what they had read."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "trial_diagnosis",
        sa.Column("trial_id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=False),
        sa.Column("trial_revision", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("findings", _JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_trial_diagnosis_study_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trial.id"], name=op.f("fk_trial_diagnosis_trial_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_trial_diagnosis")),
    )
    op.create_index(op.f("ix_trial_diagnosis_study_id"), "trial_diagnosis", ["study_id"])
    op.create_table(
        "study_diagnosis",
        sa.Column("study_id", sa.String(length=32), nullable=False),
        sa.Column("judged_revision", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.String(length=64), nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("findings", _JSON, nullable=False),
        sa.Column("trial_findings", _JSON, nullable=False),
        sa.Column("decomposition", _JSON, nullable=True),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_diagnosis_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_study_diagnosis")),
    )


def downgrade() -> None:
    op.drop_table("study_diagnosis")
    op.drop_table("trial_diagnosis")
