"""Batches, the chunks their lines are cut into, the segments of their answers, and who works on them.

`batches.expires_at` is when an ended one is forgotten, by the common sweep; the end of its window is `window_ends`.
Moments of its life are whole seconds, as clients are told them.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text

from dormouse_router.store.tables.base import metadata

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    Column("input_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("window_ends", Double, nullable=False),
    Column("completion_window", Text, nullable=False),
    Column("metadata", LargeBinary),
    Column("output_seconds", Integer),
    Column("rights", LargeBinary),
    Column("status", Text, nullable=False),
    Column("model", Text),
    Column("models", LargeBinary, nullable=False),
    Column("errors", LargeBinary, nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("waited", Double, nullable=False),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("in_progress_at", BigInteger),
    Column("finalizing_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("expired_at", BigInteger),
    Column("cancelling_at", BigInteger),
    Column("cancelled_at", BigInteger),
    Column("sealed", Boolean, nullable=False),
    Column("made_output_id", Text, index=True),
    Column("made_error_id", Text, index=True),
    Column("holder", Text),
    Column("until", Double, nullable=False),
    Column("token", Integer, nullable=False),
    Column("expires_at", Double, index=True),
)
Index(None, batches.c.owner, batches.c.created_at, batches.c.id)
Index(None, batches.c.status, batches.c.created_at)
batch_chunks = Table(
    "batch_chunks",
    metadata,
    Column("batch_id", Text, ForeignKey(batches.c.id, ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("model", Text, nullable=False),
    Column("lines", LargeBinary, nullable=False),
    Column("done", LargeBinary, nullable=False),
    Column("open", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("holder", Text),
    Column("until", Double, nullable=False),
    Column("token", Integer, nullable=False),
)
_CLAIMED_BY = ("batch_id", "model", "until", "holder", "open", "number")
Index("ix_batch_chunks_claims", *(batch_chunks.c[name] for name in _CLAIMED_BY))
"""All that is looked at before one of them is chosen, beside whole tables of lines."""
batch_segments = Table(
    "batch_segments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("batch_id", Text, ForeignKey(batches.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("output_bytes", BigInteger, nullable=False),
    Column("error_bytes", BigInteger, nullable=False),
)
batch_workers = Table(
    "batch_workers",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("expires_at", Double, nullable=False, index=True),
)
