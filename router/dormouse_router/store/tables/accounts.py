"""API keys, users, and what tokens are signed with."""

from sqlalchemy import Column, Double, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sealed", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("grants", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, index=True),
)
users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),
    Column("grants", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
)
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("private", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)
