"""A model's way to the volume as the lines of an Ollama pull. Pure: one record in, the lines to send out."""

from collections.abc import Iterator
from typing import Any

from dormouse_api.conditions import Reason
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.creation import Wanted, wanted
from dormouse_router.dialects.ollama import names
from dormouse_router.dialects.ollama.describe import digest

MISSING = "pull model manifest: file does not exist"
"""What the official client waits for where there is no such model anywhere."""
_VERIFYING = "verifying"
Line = dict[str, Any]


class PullError(Exception):
    """The pull failed for good; the text is for the client."""


def request(name: names.Name) -> Wanted:
    """The InferenceModel for `name`, which nothing serves yet. PullError where it can be no model of the hub.

    A tag is a quantization where it reads as one (q4_K_M, int8, fp16), else a revision.
    """
    if not name.on_hub:
        raise PullError(MISSING)
    revision, quantize = None, None
    if name.tag != names.DEFAULT_TAG:
        try:
            wanted(name.path, quantize=name.tag)
            quantize = name.tag
        except ValueError:
            revision = name.tag
    alias = name.path if name.tag == names.DEFAULT_TAG else name.listed
    try:
        return wanted(name.path, revision=revision, quantize=quantize, alias=alias)
    except ValueError as error:
        raise PullError(MISSING) from error


class Report:
    """Tells each step once, and the bytes whenever they moved."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._completed = -1

    def begin(self) -> Iterator[Line]:
        """The first line, before anything is known."""
        yield from self._step("pulling manifest")

    def lines(self, record: Record) -> Iterator[Line]:
        """The lines for the model as it is now; after "success" it is done. PullError where it failed."""
        yield from self.begin()
        if record.failed:
            raise PullError(_failure(record))
        if record.reason == Reason.QUEUED and record.status.queue is not None:
            queue = record.status.queue
            yield from self._step(f"waiting for others to be pulled ({queue.position} of {queue.of})")
        yield from self._layer(record)
        progress = record.status.pull
        if record.pulled or (progress and progress.stage == _VERIFYING):
            yield from self._step("verifying sha256 digest")
        if record.pulled and not record.ready:
            yield from self._step("quantizing" if record.reason == Reason.QUANTIZING else "writing manifest")
        if record.ready:
            yield from self._step("writing manifest")
            yield from self._step("success")

    @property
    def done(self) -> bool:
        return "success" in self._told

    def _step(self, status: str) -> Iterator[Line]:
        if status not in self._told:
            self._told.add(status)
            yield {"status": status}

    def _layer(self, record: Record) -> Iterator[Line]:
        progress = record.status.pull
        if record.pulled:
            completed = total = record.status.bytes or 0
        elif progress is not None and progress.total:
            completed, total = progress.bytes, progress.total
        else:
            return
        if completed == self._completed:
            return
        self._completed = completed
        yield {
            "status": f"pulling {digest(record)[:12]}",
            "digest": f"sha256:{digest(record)}",
            "total": total,
            "completed": completed,
        }


def _failure(record: Record) -> str:
    if record.reason == Reason.NOT_FOUND:
        return f"{MISSING}: {record.message}"
    return f"pull model {record.full_name}: {record.message}"
