"""Webhooks that are owed, events on their way to the operator's endpoints, and the secrets of owners."""

from sqlalchemy import Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)
Index(None, webhook_events.c.created_at)
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Double, nullable=False),
    # also the end of a try that is under way: a router that died in it is not waited for longer
    Column("due_at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
    Column("final", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
)
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("current", Text, nullable=False),
    Column("retiring", LargeBinary, nullable=False),
)
