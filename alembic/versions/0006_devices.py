"""Number of devices per attempt: its device-hours are the sum over all of them."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("num_devices", sa.Integer(), server_default="1", nullable=False))


def downgrade() -> None:
    op.drop_column("attempt", "num_devices")
