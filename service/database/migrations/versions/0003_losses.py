"""losses: what was served and is in no backup."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lost_entries",
        sa.Column("index", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_lost_entries")),
    )
    with op.batch_alter_table("lost_entries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_lost_entries_name"), ["name"])


def downgrade() -> None:
    with op.batch_alter_table("lost_entries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_lost_entries_name"))

    op.drop_table("lost_entries")
