"""Predictions. Times are seconds since the epoch."""

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("wish", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("token", Integer, nullable=False),
    Column("holder", Text),
    # until when it is its holder's alone; none: it has ended
    Column("lease_until", Double, index=True),
)
Index(None, predictions.c.owner, predictions.c.created_at, predictions.c.id)
