"""The pull: every file of one commit onto the volume, resumed where an earlier try stopped, the marker last."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from dormouse_api.conditions import Reason
from dormouse_api.results import Marker, MarkerFile, PullResult
from dormouse_runtime.pull import marker, space
from dormouse_runtime.pull.bandwidth import Bucket
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.patience import Patience, patiently
from dormouse_runtime.pull.progress import Meter
from dormouse_runtime.pull.selection import RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.sources import open_source
from dormouse_runtime.pull.transfer import PART, Transfers, part_path, present, size

Choose = Callable[[list[RemoteFile]], list[RemoteFile]]
FILES_AT_ONCE = 4
READS_PER_STALL = 3  # a silent connection is given up and made anew so often before the whole pull is called stalled
WATCH_SECONDS = 0.5
GRACE_SECONDS = 1.0  # for transfers to stop after another failed; one that waits for a silent hub is left behind


def fetch(settings: Settings, meter: Meter, choose: Choose = select) -> PullResult:
    """Pull the commit (`settings.commit`, else what the revision stands for now): the files that `choose` takes of its
    listing. Raises PullError.
    """
    started = time.monotonic()
    source = open_source(settings, settings.stall_seconds / READS_PER_STALL)
    with contextlib.closing(source):
        commit = settings.commit or patiently(lambda: source.resolve(settings.revision), patience(settings))
        folder = settings.models / commit
        done = marker.read(folder)
        if done is not None and marker.whole(folder, done):
            meter.stage("done")
            return _result(commit, done.files, 0, 0.0)
        listed = patiently(lambda: source.files(commit), patience(settings))
        folder.mkdir(parents=True, exist_ok=True)
        transfers = Transfers(
            source=source,
            commit=commit,
            folder=folder,
            meter=meter,
            bucket=Bucket(settings.max_bytes_per_second),
            backoff_seconds=settings.backoff_seconds,
            stop=threading.Event(),
        )
        files = _bring_all(choose(listed), transfers, settings)
    meter.stage("verifying")
    _seal(folder, Marker(source=settings.source, commit=commit, files=tuple(files), tools=dict(source.tools)))
    meter.stage("done")
    return _result(commit, tuple(files), meter.fetched, time.monotonic() - started)


def _bring_all(files: list[RemoteFile], transfers: Transfers, settings: Settings) -> list[MarkerFile]:
    """All files, by path. The largest start first, so that none is left to run alone at the end."""
    folder = transfers.folder
    _adopt(files, folder, settings.source)
    brought = [there for file in files if (there := present(folder, file))]
    names = {file.path for file in brought}
    missing = sorted((file for file in files if file.path not in names), key=lambda file: -file.size)
    total, left = sum(file.size for file in files), sum(file.size for file in missing)
    parts = sum(min(size(part_path(folder, file)), file.size) for file in missing)
    space.require(folder, left - parts)
    transfers.meter.start(total, total - left + parts)
    pool = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="transfer")
    running = {pool.submit(transfers.bring, file) for file in missing}
    try:
        brought += _collect(running, transfers.meter, settings.stall_seconds)
    finally:
        transfers.stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait({future for future in running if not future.cancelled()}, timeout=GRACE_SECONDS)
    return sorted(brought, key=lambda file: file.path)


def _collect(running: set[Future[MarkerFile]], meter: Meter, stall_seconds: float) -> list[MarkerFile]:
    """Results as they come; the first failure, or a silence of all connections together, ends it."""
    found: list[MarkerFile] = []
    while running:
        done, running = wait(running, timeout=min(WATCH_SECONDS, stall_seconds / 4), return_when=FIRST_COMPLETED)
        found += [future.result() for future in done]
        if running and meter.silent_seconds > stall_seconds:
            raise PullError(
                Reason.STALLED,
                f"no byte came for {stall_seconds:g} s: the pull is started again and goes on where it stopped; if it "
                "stalls each time, check the network between the pod and the hub",
            )
    return found


def _adopt(files: list[RemoteFile], folder: Path, source: str) -> None:
    """Link what another revision on this volume has with the same bytes: a new revision often changes little.

    Where the source knows no sha256, the same path of the same source with the same version is the same bytes.
    """
    known: dict[tuple[str, int], Path] = {}
    for other in folder.parent.iterdir():
        if other != folder and (found := marker.read(other)) and marker.whole(other, found):
            known |= {(file.sha256, file.size): other / file.path for file in found.files}
            if found.source == source:
                known |= {(f"{file.path} {file.version}", file.size): other / file.path for file in found.files}
    for file in files:
        name = file.sha256 or (f"{file.path} {file.version}" if file.version else "")
        same = known.get((name, file.size))
        if same and present(folder, file) is None:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # a file system without links: it is fetched instead
                os.link(same, folder / file.path)


def _seal(folder: Path, written: Marker) -> None:
    """Remove parts of other content, make all renames last, put the marker."""
    for part in folder.rglob(f"*{PART}"):
        part.unlink()
    for inner in {folder, *(path for path in folder.rglob("*") if path.is_dir())}:
        marker.sync_folder(inner)
    if not marker.whole(folder, written):
        raise PullError(Reason.CORRUPT, f"files of {folder} changed while they were pulled: start the pull again")
    marker.write(folder, written)


def patience(settings: Settings) -> Patience:
    """How patiently sources are asked."""
    return Patience(settings.backoff_seconds, time.sleep)


def _result(commit: str, files: tuple[MarkerFile, ...], fetched: int, seconds: float) -> PullResult:
    return PullResult(
        commit=commit,
        files=len(files),
        bytes=sum(file.size for file in files),
        fetched_bytes=fetched,
        seconds=round(seconds, 3),
        digest=marker.digest(files),
    )
