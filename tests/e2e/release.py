"""The installed release, as its administrator handles it: other values for a while, away, and back as it was."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from dev import manifests, target, testbed
from tests.e2e.shell import kubectl


@dataclass(frozen=True)
class Release:
    """The local cluster's, with the values and the description that `dev.testbed` gave it."""

    values: Mapping[str, Any]
    description: str

    def upgrade(self, *options: str) -> None:
        """Other values, back as soon as the API server has them: pods follow."""
        self._apply("--description", "for a story", *options)

    def restore(self) -> None:
        """The values as they were, also where there is no release, and back when its pods are ready."""
        self._apply("--description", self.description)
        for part in ("operator", "router"):
            deployment = f"deployment/{testbed.RELEASE}-{part}"
            kubectl("-n", testbed.NAMESPACE, "rollout", "status", deployment, "--timeout", "200s")

    def uninstall(self) -> None:
        target.local().helm("uninstall", testbed.RELEASE, "--namespace", testbed.NAMESPACE)

    def _apply(self, *options: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(dict(self.values), file)
            file.flush()
            where = ("--namespace", testbed.NAMESPACE, "--values", file.name)
            target.local().helm("upgrade", "--install", testbed.RELEASE, str(manifests.CHART), *where, *options)


def installed() -> Release:
    """What Helm says of it."""
    helm = target.local().helm
    where = (testbed.RELEASE, "--namespace", testbed.NAMESPACE, "--output", "json")
    status = json.loads(helm("status", *where))
    return Release(json.loads(helm("get", "values", *where)) or {}, status["info"]["description"])
