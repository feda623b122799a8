"""Histories of chats: a row for each session, locked by whoever adds a turn, and one for each message."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

sessions = Table(
    "sessions",
    metadata,
    Column("key", Text, primary_key=True),
    Column("system", LargeBinary),
    Column("expires_at", Double, nullable=False, index=True),
)
messages = Table(
    "session_messages",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("key", Text, ForeignKey(sessions.c.key, ondelete="CASCADE"), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index(None, messages.c.key, messages.c.id)
