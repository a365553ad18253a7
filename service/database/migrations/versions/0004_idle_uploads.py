"""idle uploads: when something of an upload arrived last."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in a batch: that would make the table anew, and drop the files of the old one.
    op.execute("ALTER TABLE uploads RENAME COLUMN created_at TO active_at")


def downgrade() -> None:
    op.execute("ALTER TABLE uploads RENAME COLUMN active_at TO created_at")
