"""Prometheus itself, for tests: the server that finds pods, promtool, which judges rules, and its operator's CRDs.

`server` is built once from its Go module into the machine's cache: Debian's knows no Kubernetes. `promtool` is
Debian's, which `dev.host` installs: rules and expressions mean the same to both. The CRDs are generated from the Go
types of the Prometheus operator, whose modules hold no YAML. Knows nothing of what is measured.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from dev import cache
from dev.cluster.binaries import require_go

_SOURCES = Path(__file__).resolve().parent
_INPUTS = tuple(_SOURCES / name for name in ("go.mod", "go.sum"))
_PACKAGE = "github.com/prometheus/prometheus/cmd/prometheus"
_FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-tags", "netgo,remove_all_sd,enable_kubernetes_sd")
"""No discovery but that of Kubernetes: the clouds' clients are most of a whole build."""

_CRDS = _SOURCES / "crds"
_TYPES = "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
_GENERATOR = "sigs.k8s.io/controller-tools/cmd/controller-gen"


class PrometheusError(Exception):
    """Prometheus is not to be had here; the message says what is missing."""


def promtool() -> Path:
    """The program that checks rules. PrometheusError where it is not installed."""
    found = shutil.which("promtool")
    if found is None:
        raise PrometheusError("promtool is not installed: run `python -m dev.host`, or apt-get install prometheus")
    return Path(found)


def server() -> Path:
    """The program `prometheus`, without its web pages. ClusterError without Go, PrometheusError."""
    identity = f"server-{cache.key(_PACKAGE, *_FLAGS, *_INPUTS)}"
    built = cache.publish("prometheus", identity, _build, what="Prometheus", expect="about 3 minutes, once per machine")
    return built / "prometheus"


def crds() -> list[Path]:
    """The CRDs PodMonitor and PrometheusRule, as YAML. ClusterError without Go, PrometheusError."""
    identity = f"crds-{cache.key(_TYPES, _GENERATOR, *(_CRDS / name for name in ('go.mod', 'go.sum')))}"
    made = cache.publish(
        "prometheus", identity, _generate, what="Prometheus' CRDs", expect="a minute, once per machine"
    )
    return [made / f"monitoring.coreos.com_{plural}.yaml" for plural in ("podmonitors", "prometheusrules")]


def _build(out: Path) -> None:
    _go(_SOURCES, "build", *_FLAGS, "-o", str(out / "prometheus"), _PACKAGE)


def _generate(out: Path) -> None:
    wanted = ("crd:crdVersions=v1,allowDangerousTypes=true", f"paths={_TYPES}", f"output:crd:dir={out}")
    _go(_CRDS, "run", _GENERATOR, *wanted)


def _go(folder: Path, *command: str) -> None:
    require_go()
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(["go", *command], cwd=folder, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PrometheusError(f"go {' '.join(command)} failed in {folder}:\n{done.stderr[-4000:]}")
