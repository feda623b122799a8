"""How many tokens of prompts engines had kept; a router of before this adds rows without."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage", sa.Column("cached_tokens", sa.BigInteger(), nullable=False, server_default="0"))
