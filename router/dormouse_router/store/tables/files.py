"""What is known of files, of who needs their bytes beyond their life, and of files that come in parts.

Rows that expire here are not the common sweep's: their blobs go with them (`files.sweep`).
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Table, Text

from dormouse_router.store.tables.base import metadata

OWN_SWEEP = {"own_sweep": True}

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, index=True),
    info=OWN_SWEEP,
)
Index(None, files.c.owner, files.c.created_at, files.c.id)
file_pins = Table(
    "file_pins",
    metadata,
    Column("by", Text, primary_key=True),
    Column("file_id", Text, primary_key=True, index=True),
)
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False, index=True),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("lives", Double),
    Column("bytes", BigInteger, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("file_id", Text),
    Column("expires_at", Double, nullable=False, index=True),
    info=OWN_SWEEP,
)
upload_parts = Table(
    "upload_parts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("upload_id", Text, ForeignKey(uploads.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
)
