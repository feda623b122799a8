"""Versions of a model: the commits of its source that its volume has held, and the one that is called now. Pure."""

from dataclasses import dataclass

from dormouse_api.lease import parse_time
from dormouse_router.catalog.record import Record


@dataclass(frozen=True, slots=True)
class Version:
    """One commit."""

    id: str
    """The commit."""
    created: float
    """When it was first whole on the volume, in seconds since the epoch; of one that is still pulled the model's."""
    revision: str
    quantization: str | None
    bytes: int | None
    current: bool
    """It is what a call of the model is answered with."""
    on_volume: bool


def versions(record: Record) -> list[Version]:
    """Newest first, as far as they are remembered."""
    status = record.status
    folders = status.volume.folders if status.volume is not None else []
    found = [
        Version(
            id=seen.commit,
            created=parse_time(seen.at),
            revision=seen.revision,
            quantization=seen.quantization,
            bytes=seen.bytes,
            current=seen.commit == status.commit,
            on_volume=_holds(folders, seen.commit),
        )
        for seen in status.versions or ()
    ]
    if status.commit is not None and not any(version.current for version in found):
        found.append(_present(record, status.commit, _holds(folders, status.commit)))
    return sorted(found, key=lambda version: version.created, reverse=True)


def _present(record: Record, commit: str, on_volume: bool) -> Version:
    """What an older operator, or one that still pulls, has not listed yet."""
    status = record.status
    return Version(
        id=commit,
        created=record.created,
        revision=record.spec.source.revision,
        quantization=status.quantization,
        bytes=status.bytes,
        current=True,
        on_volume=on_volume or record.pulled,
    )


def _holds(folders: list[str], commit: str) -> bool:
    return any(folder == commit or folder.startswith(f"{commit}-") for folder in folders)
