"""Answers of the Responses API. Times are seconds since the epoch."""

from sqlalchemy import Column, Double, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("previous_id", Text),
    Column("created_at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("input_items", LargeBinary, nullable=False),
    Column("expires_at", Double, index=True),
)
