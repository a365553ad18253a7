"""names: what of other packages is installed where a worker runs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("names", sa.JSON(), server_default="[]", nullable=False)
        )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.alter_column("names", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_column("names")
