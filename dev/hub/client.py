"""What tests and scripts say to a running hub: publish, break, look at the log."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30


class HubControl:
    """The control pages of the hub at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def publish(
        self,
        repo_id: str,
        files: Mapping[str, bytes] | Path,
        branch: str = "main",
        meta: Mapping[str, Any] | None = None,
    ) -> str:
        """Make `files` (by path, or a folder's) the branch's new commit and give the commit's name.

        `meta` may hold gated, private and tokens.
        """
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w") as tar:
            if isinstance(files, Path):
                tar.add(files, arcname=".")
            else:
                for name, content in files.items():
                    _add(tar, name, content)
            if meta is not None:
                _add(tar, ".hub.json", json.dumps(dict(meta)).encode())
        answer = self._ask("PUT", f"/_repos/{repo_id}/{branch}", body.getvalue())
        return str(answer["commit"])

    def forget(self, repo_id: str) -> None:
        """Take back a repository that was published."""
        self._ask("DELETE", f"/_repos/{repo_id}")

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Replace all faults; none given: the hub behaves again."""
        self._ask("POST", "/_faults", json.dumps(faults).encode())

    def log(self) -> list[dict[str, Any]]:
        """Requests answered so far, oldest first."""
        return list(self._ask("GET", "/_log"))

    def clear(self) -> None:
        """Empty the log."""
        self._ask("DELETE", "/_log")

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
