"""Renders the plain manifests from the chart with the project's own Helm. Knows nothing of what is in them."""

import subprocess
from pathlib import Path

from dev.cluster import binaries

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "dormouse"
INSTALL = ROOT / "manifests" / "install.yaml"
PROFILES = ROOT / "manifests" / "profiles.yaml"
_HEADER = "# Rendered from charts/dormouse by `make generate`; do not edit. How to apply it: manifests/README.md.\n"
_PROFILE_API = "dormouse.dev/v1alpha1/RuntimeProfile"
"""Known, so that profiles are objects like any other and not hooks of Helm's."""
_PROFILE_TEMPLATE = "templates/profiles.yaml"


def helm(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs Helm; output and errors as text."""
    command = [binaries.ensure().tools, "helm", *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def rendered() -> dict[Path, str]:
    """The plain manifests and what they must hold. Profiles are apart: they need the CRD to be there already."""
    everything = _template("--skip-tests", "--api-versions", _PROFILE_API)
    profiles = _template("--show-only", _PROFILE_TEMPLATE, "--api-versions", _PROFILE_API)
    marker = f"# Source: dormouse/{_PROFILE_TEMPLATE}"
    documents = [document for document in everything.split("\n---\n") if marker not in document]
    return {INSTALL: _HEADER + "\n---\n".join(documents).rstrip() + "\n", PROFILES: _HEADER + profiles}


def _template(*options: str) -> str:
    return helm("template", "dormouse", str(CHART), "--namespace", "dormouse-system", *options).stdout
