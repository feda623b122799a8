"""The hub's dialect: model info, paged tree, resolve with redirect for LFS files, gates and tokens."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from dev.hub.faults import Fault
from dev.hub.handler import NO_FAULT, Request
from dev.hub.repos import Blob, Repo, Tree

REPO = r"([^/]+/[^/]+)"
MODEL = re.compile(rf"/api/models/{REPO}(?:/revision/([^/]+))?")
REFS = re.compile(rf"/api/models/{REPO}/refs")
TREE = re.compile(rf"/api/models/{REPO}/tree/([^/]+)")
RESOLVE = re.compile(rf"/(_cdn/)?{REPO}/resolve/([^/]+)/(.+)")
EXPIRED_TOKEN = "hf_expired"  # noqa: S105 - a token that is refused everywhere, for tests
PAGE = 1000


def answer(request: Request) -> None:
    """Answer a GET or HEAD of the hub's dialect."""
    route = request.route
    fault = request.hub.faults.take(request.command, route) or NO_FAULT
    if fault.kind == "status":
        _injected(request, fault)
    elif request.token == EXPIRED_TOKEN:
        request.fail(401, "", "Invalid credentials in Authorization header")
    elif route == "/api/whoami-v2":
        request.reply(200, {"name": "dormouse", "type": "user"})
    elif found := RESOLVE.fullmatch(route):
        _resolve(request, found, fault)
    elif found := MODEL.fullmatch(route):
        _model(request, found)
    elif found := TREE.fullmatch(route):
        _tree(request, found)
    elif found := REFS.fullmatch(route):
        _refs(request, found)
    else:
        request.fail(404, "", "no such page")


def _injected(request: Request, fault: Fault) -> None:
    wait: dict[str, Any] = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    if fault.resets is not None:  # as the hub itself tells it
        wait["RateLimit"] = f'"resolvers";r=0;t={fault.resets}'
    request.fail(fault.status, fault.code, "injected", wait)


def _model(request: Request, found: re.Match[str]) -> None:
    repo = _repo(request, found[1])
    tree = repo and _revision(request, repo, found[2] or "main")
    if repo and tree:
        request.reply(200, _info(repo, tree))


def _info(repo: Repo, tree: Tree) -> dict[str, Any]:
    return {
        "id": repo.id,
        "modelId": repo.id,
        "sha": tree.commit,
        "private": bool(repo.meta.get("private")),
        "gated": "manual" if repo.meta.get("gated") else False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [{"rfilename": name} for name in tree.files],
        "lastModified": "2026-01-01T00:00:00.000Z",
    }


def _refs(request: Request, found: re.Match[str]) -> None:
    repo = _repo(request, found[1])
    if repo:
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": tree.commit}
            for name, tree in repo.branches.items()
        ]
        request.reply(200, {"branches": branches, "tags": [], "converts": []})


def _tree(request: Request, found: re.Match[str]) -> None:
    repo = _repo(request, found[1])
    tree = repo and _revision(request, repo, found[2])
    if not tree:
        return
    names = list(tree.files)
    start, size = int(request.query.get("cursor", 0)), int(request.query.get("limit", PAGE))
    entries = [_entry(name, tree.files[name]) for name in names[start : start + size]]
    more = {}
    if start + size < len(names):
        following = f"http://{request.host}{request.url.path}?recursive=true&limit={size}&cursor={start + size}"
        more = {"Link": f'<{following}>; rel="next"'}
    request.reply(200, entries, more)


def _entry(name: str, blob: Blob) -> dict[str, Any]:
    lfs = {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.lfs else {}
    return {"type": "file", "path": name, "size": blob.size, "oid": blob.git, **lfs}


def _resolve(request: Request, found: re.Match[str], fault: Fault) -> None:
    signed = bool(found[1])  # a CDN link is signed: it asks for no token
    repo = request.hub.repos.find(found[2]) if signed else _repo(request, found[2], files=True)
    tree = repo and _revision(request, repo, found[3])
    if not repo or not tree:
        return
    blob, commit = tree.files.get(found[4]), {"X-Repo-Commit": tree.commit}
    if blob is None:
        request.fail(404, "EntryNotFound", "Entry not found", commit)
        return
    headers = {**commit, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
    if blob.lfs and not signed:
        host = request.host.replace("127.0.0.1", "localhost") if fault.kind == "elsewhere" else request.host
        target = f"http://{host}/_cdn/{repo.id}/resolve/{tree.commit}/{quote(found[4])}"
        linked = {"X-Linked-Size": blob.size, "X-Linked-ETag": f'"{blob.etag}"'}
        request.reply(302, None, {**headers, **linked, "Location": target})
    else:
        request.send_file(blob.path, headers, fault)


def _repo(request: Request, repo_id: str, files: bool = False) -> Repo | None:
    """The repository if the caller may read it; else the refusal is answered and this is None.

    As on the hub, a gated repository's listing is open and its files are not; a private one is unknown to strangers.
    """
    repo = request.hub.repos.find(repo_id)
    known = repo is not None and request.token in repo.meta.get("tokens", ())
    if repo is None or (repo.meta.get("private") and not known):
        request.fail(404 if request.token else 401, "RepoNotFound", "Repository not found")
        return None
    if repo.meta.get("gated") and files and not known:
        who = "You are not in the authorized list" if request.token else "You must be authenticated"
        message = f"Access to model {repo_id} is restricted. {who}."
        request.fail(403 if request.token else 401, "GatedRepo", message)
        return None
    return repo


def _revision(request: Request, repo: Repo, revision: str) -> Tree | None:
    tree = repo.tree(revision)
    if tree is None:
        request.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return tree
