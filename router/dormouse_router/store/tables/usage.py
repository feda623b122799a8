"""What calls add up to: a row for each day, owner, caller and model."""

from sqlalchemy import BigInteger, Column, Double, Index, Table, Text

from dormouse_router.store.tables.base import metadata

usage = Table(
    "usage",
    metadata,
    Column("id", Text, primary_key=True),
    Column("day", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False, server_default="0"),
    Column("seconds", Double, nullable=False),
    Column("held_seconds", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)
Index(None, usage.c.day, usage.c.owner)
