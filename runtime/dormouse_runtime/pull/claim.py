"""pvc:// sources: a folder of another claim, mounted read-only. Knows no network.

Its commit is a digest of paths, sizes and modification times: hashing the contents would read every byte of the weights
at each inspection, minutes on a network file system, to tell of changes that keep both size and time, which no ordinary
tool makes. Copies that keep times (cp -p, rsync -a) keep the commit. The pull hashes what it copies, and looks again
whether the file is still the same when it has read its end.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from dormouse_api import __version__
from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile, select
from dormouse_runtime.pull.settings import Settings
from dormouse_runtime.pull.source import pinned, replaced

BLOCK = 1 << 20
MOST_FILES = 10_000
MOST_FOLDERS = 1_000


class Claim:
    """One folder of one claim."""

    def __init__(self, settings: Settings) -> None:
        self._uri = settings.source
        self._claim, _, path = settings.place.partition("/")
        self._root = settings.source_dir.resolve()
        self._folder = self._root / path
        self._known: tuple[str, list[RemoteFile]] | None = None

    @property
    def remedy(self) -> str:
        return "put the file onto the claim again"

    @property
    def tools(self) -> dict[str, str]:
        return {"dormouse": __version__}

    def close(self) -> None:
        """Nothing stays open."""

    def resolve(self, revision: str) -> str:
        """The digest of the listing. A revision that is such a digest is that state or none; any other word is now."""
        with self._told():
            files = select(self._listing())
        commit = pinned(self._uri, revision, files)
        self._known = commit, files
        return commit

    def files(self, commit: str) -> list[RemoteFile]:
        if self._known is None or self._known[0] != commit:
            self.resolve(commit)
        assert self._known is not None  # noqa: S101 - for the type checker
        return self._known[1]

    @contextlib.contextmanager
    def stream(
        self, commit: str, file: RemoteFile, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        with self._told(file.path):
            handle = self._open(file)
        try:
            yield start, self._blocks(handle, file, start, file.size if end is None else end)
        finally:
            os.close(handle)

    def _open(self, file: RemoteFile) -> int:
        """A handle of the very file that was listed. Links are followed, but never out of the claim."""
        # O_NONBLOCK: what has become a pipe since must not hold us
        handle = os.open(self._folder / file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            really = Path(f"/proc/self/fd/{handle}").readlink()
            if not really.is_relative_to(self._root):
                raise self._outside(file.path)
            if _version(os.fstat(handle)) != file.version:
                raise replaced(self._uri, file.path)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _blocks(self, handle: int, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        at = start
        while at < end:
            with self._told(file.path):
                block = os.pread(handle, min(BLOCK, end - at), at)
            if not block:
                break
            at += len(block)
            yield block
        with self._told(file.path):
            if _version(os.fstat(handle)) != file.version:
                raise replaced(self._uri, file.path)

    def _listing(self) -> list[RemoteFile]:
        """The files below the folder; a link to a file counts as the file, as in the caches of model libraries."""
        if not self._folder.resolve(strict=True).is_relative_to(self._root):
            raise self._outside("its path")
        found: list[RemoteFile] = []
        for count, (folder, folders, names) in enumerate(os.walk(self._folder, onerror=_raise)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in sorted(names):
                path = Path(folder) / name
                relative = path.relative_to(self._folder).as_posix()
                if not path.resolve().is_relative_to(self._root):
                    raise self._outside(relative)
                if path.is_file():
                    stat = path.stat()
                    found.append(RemoteFile(relative, stat.st_size, version=_version(stat)))
            if len(found) > MOST_FILES or count > MOST_FOLDERS:
                most = f"{MOST_FILES} files or {MOST_FOLDERS} folders"
                raise PullError(Reason.UNSUPPORTED, f"{self._uri} holds more than {most}: name the folder of one model")
        return found

    @contextlib.contextmanager
    def _told(self, path: str = "") -> Iterator[None]:
        """Errors of the source's file system, in words; those of the model's own volume never pass here."""
        try:
            yield
        except OSError as error:
            raise self._failure(error, path) from error

    def _failure(self, error: OSError, path: str) -> PullError:
        where = f"{path} of {self._uri}" if path else self._uri
        if error.errno in (errno.EACCES, errno.EPERM):
            return PullError(
                Reason.UNAUTHORIZED,
                f"{where} cannot be read by user {os.getuid()}: make it readable for everybody on the claim "
                "(chmod -R a+rX)",
            )
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            if path:
                return replaced(self._uri, path)
            return PullError(
                Reason.NOT_FOUND,
                f"there is no folder {where}: put the model's files there, or create the InferenceModel with another "
                "source.uri",
            )
        if error.errno == errno.ELOOP:
            return PullError(Reason.NOT_FOUND, f"{where} is a symbolic link to itself: mend it on the claim")
        return PullError(
            Reason.NETWORK,
            f"PersistentVolumeClaim {self._claim} cannot be read ({error.strerror}): it is tried again; if it stays, "
            "check the claim's volume",
        )

    def _outside(self, path: str) -> PullError:
        return PullError(
            Reason.UNSUPPORTED,
            f"{path} of {self._uri} is a symbolic link that leaves the claim: put the file itself there",
        )


def _version(stat: os.stat_result) -> str:
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _raise(error: OSError) -> None:
    raise error
