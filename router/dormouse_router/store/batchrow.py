"""A batch as a row and back. Pure but for the statements it makes."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Update, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.batch.lifecycle import NO_RIGHTS, Batch, Counts, LineError, Rights, Status, Usage
from dormouse_router.store.tables import batches

B = batches.c
_MOMENTS = tuple(
    f"{moment}_at"
    for moment in ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
)
_encode, _decode = msgspec.json.encode, msgspec.json.decode
_errors = msgspec.json.Decoder(tuple[LineError, ...])
_pairs = msgspec.json.Decoder(dict[str, str])
_rights = msgspec.json.Decoder(Rights)
_models = msgspec.json.Decoder(list[tuple[str, int]])


def batch_of(row: Row[Any]) -> Batch:
    return Batch(
        id=row.id,
        owner=row.owner,
        endpoint=row.endpoint,
        input_file_id=row.input_file_id,
        created_at=int(row.created_at),
        metadata=None if row.metadata is None else _pairs.decode(row.metadata),
        output_seconds=row.output_seconds,
        completion_window=row.completion_window,
        status=Status(row.status),
        model=row.model,
        errors=_errors.decode(row.errors),
        counts=Counts(row.total, row.completed, row.failed),
        usage=Usage(row.input_tokens, row.cached_tokens, row.output_tokens, row.reasoning_tokens),
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        rights=NO_RIGHTS if row.rights is None else _rights.decode(row.rights),
        **{name: getattr(row, name) for name in _MOMENTS},
    )


def models_of(row: Row[Any]) -> list[tuple[str, int]]:
    """The models of its lines, and how many lines each has."""
    return _models.decode(row.models)


def models_as(models: dict[str, int]) -> bytes:
    return _encode(list(models.items()))


def changing(batch: Batch) -> dict[str, Any]:
    """The columns that a transition may change."""
    counts, usage = batch.counts, batch.usage
    return {
        "status": batch.status.value,
        "model": batch.model,
        "errors": _encode(batch.errors),
        "total": counts.total,
        "completed": counts.completed,
        "failed": counts.failed,
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        **{name: getattr(batch, name) for name in _MOMENTS},
    }


def fixed(batch: Batch) -> dict[str, Any]:
    """The columns that stay, but for its moment of creation, which rows have finer."""
    return {
        "id": batch.id,
        "owner": batch.owner,
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "window_ends": float(batch.expires_at),
        "completion_window": batch.completion_window,
        "metadata": None if batch.metadata is None else _encode(batch.metadata),
        "output_seconds": batch.output_seconds,
        "rights": None if batch.rights == NO_RIGHTS else _encode(batch.rights),
    }


async def locked(connection: AsyncConnection, *which: ColumnElement[bool]) -> Row[Any] | None:
    """The row, which nobody else changes until the transaction ends."""
    found: Row[Any] | None = (await connection.execute(select(batches).where(*which).with_for_update())).first()
    return found


def changed(batch: Batch, **more: Any) -> Update:
    return update(batches).where(B.id == batch.id).values(**changing(batch), **more)


def newest_first(owner: str, limit: int) -> Select[Any]:
    return select(batches).where(B.owner == owner).order_by(B.created_at.desc(), B.id.desc()).limit(limit)
