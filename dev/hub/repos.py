"""The repositories of the hub: folders read anew at each request, and what was published at run time.

Owns names, branches, commits and hashes. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
import tarfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
BRANCH = re.compile(r"[A-Za-z0-9][\w.-]*")
META = ".hub.json"
REFS = ".refs"
LFS_FROM = 512 * 1024  # larger files, and weights of any size, are "LFS": kept elsewhere, known by sha256
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pt")
BLOCK = 1 << 20


class RepoError(Exception):
    """What was published cannot be a repository; the message says why."""


@dataclass(frozen=True)
class Blob:
    """One file's content on this disk, and its names on the hub."""

    path: Path
    size: int
    sha256: str
    git: str
    lfs: bool

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git


@dataclass(frozen=True)
class Tree:
    """A commit: its name and its files by path."""

    commit: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """A repository as it is now."""

    id: str
    meta: dict[str, Any] = field(default_factory=dict)
    branches: dict[str, Tree] = field(default_factory=dict)
    commits: dict[str, Tree] = field(default_factory=dict)

    def tree(self, revision: str) -> Tree | None:
        """By branch or commit; the unknown is None."""
        return self.branches.get(revision) or self.commits.get(revision)


class Repos:
    """All repositories: those below `root`, and those published into `scratch`, which win."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root, self._scratch = root.resolve(), scratch.resolve()
        self._lock = threading.Lock()
        self._hashes: dict[tuple[str, int, int], Blob] = {}
        self._commits: dict[str, dict[str, Tree]] = {}
        self._published: dict[str, Repo] = {}
        self._numbers = itertools.count(1)

    def find(self, repo_id: str) -> Repo | None:
        """The repository, or None. Commits seen before stay known as long as their files are unchanged."""
        if not REPO_ID.fullmatch(repo_id) or ".." in repo_id:
            return None
        folder, published = self._root / repo_id, self._published.get(repo_id)
        if not folder.is_dir() and not published:
            return None
        repo = Repo(repo_id)
        if folder.is_dir():
            repo.meta = _meta(folder)
            repo.branches["main"] = self._scan(folder)
            for branch in sorted((folder / REFS).glob("*/")):
                repo.branches[branch.name] = self._scan(branch)
        if published:
            repo.meta = published.meta or repo.meta
            repo.branches |= published.branches
        with self._lock:
            known = self._commits.setdefault(repo_id, {})
            known |= {tree.commit: tree for tree in repo.branches.values()}
            repo.commits = {commit: tree for commit, tree in known.items() if all(map(_unchanged, tree.files.values()))}
        return repo

    def publish(self, repo_id: str, branch: str, archive: IO[bytes]) -> Tree:
        """Make the tar's files the branch's new commit. Its `.hub.json`, if it has one, becomes the repository's."""
        if not REPO_ID.fullmatch(repo_id) or ".." in repo_id or not BRANCH.fullmatch(branch):
            raise RepoError(f"{repo_id} at {branch}: a repository is ORG/NAME, a branch a plain word")
        folder = self._scratch / repo_id / branch / str(next(self._numbers))
        folder.mkdir(parents=True)
        try:
            with tarfile.open(fileobj=archive, mode="r|") as tar:
                _extract(tar, folder)
        except tarfile.TarError as error:
            shutil.rmtree(folder)
            raise RepoError(f"the body is no tar archive: {error}") from error
        tree = self._scan(folder)
        with self._lock:
            repo = self._published.setdefault(repo_id, Repo(repo_id))
            repo.meta = _meta(folder) or repo.meta
            repo.branches[branch] = tree
            self._commits.setdefault(repo_id, {})[tree.commit] = tree
        return tree

    def forget(self, repo_id: str) -> bool:
        """Take back what was published; a folder below the root stays."""
        with self._lock:
            self._commits.pop(repo_id, None)
            return self._published.pop(repo_id, None) is not None

    def _scan(self, folder: Path) -> Tree:
        files = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name != META and not name.startswith(f"{REFS}/"):
                files[name] = self._blob(path)
        listing = json.dumps({name: blob.git for name, blob in files.items()}).encode()
        return Tree(hashlib.sha1(listing, usedforsecurity=False).hexdigest(), files)

    def _blob(self, path: Path) -> Blob:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        found = self._hashes.get(key)
        if found is None:
            found = self._hashes[key] = _hashed(path, stat.st_size)
        return found


def _hashed(path: Path, size: int) -> Blob:
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            git.update(block)
    return Blob(path, size, sha256.hexdigest(), git.hexdigest(), size > LFS_FROM or path.suffix in LFS_SUFFIXES)


def _unchanged(blob: Blob) -> bool:
    return blob.path.is_file() and blob.path.stat().st_size == blob.size


def _meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Plain files and folders that stay below `folder`; Debian's Python 3.11.2 has no extraction filters to do it."""
    for member in tar:
        target = (folder / member.name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise RepoError(f"{member.name} leads out of the repository")
        if source := tar.extractfile(member) if member.isfile() else None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(source, file)
