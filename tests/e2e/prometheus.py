"""A real Prometheus beside the cluster: it finds pods as docs/monitoring.md says, and loads the rules of the chart.

Pods have addresses in the cluster's network only: each is scraped through the API server's proxy, as kubectl reaches
it. The page's scrape configuration is taken as it stands and given that way.
"""

import base64
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from dev import manifests
from dev.cluster.layout import REPOSITORY
from tests.monitoring.live import Prometheus, quickened, started

PAGE = REPOSITORY / "docs" / "monitoring.md"
PRICES = {"devices": {"pod": 0.5}, "models": {}}


@contextlib.asynccontextmanager
async def running(folder: Path, kubeconfig: Path) -> AsyncIterator[Prometheus]:
    """One that scrapes the cluster of the kubeconfig until left; its files are in `folder`."""
    async with started(folder, _groups(folder), _scrapes(folder, kubeconfig)) as made:
        yield made


def _groups(folder: Path) -> list[dict[str, Any]]:
    """The chart's rules, with seconds in the place of minutes."""
    values = {"monitoring": {"rules": {"enabled": True}, "prices": PRICES}}
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    chart = ("dormouse", str(manifests.CHART), "-f", str(folder / "values.yaml"), "-s", "templates/monitoring.yaml")
    (rule,) = [item for item in yaml.safe_load_all(manifests.helm("template", *chart).stdout) if item]
    return quickened(rule["spec"]["groups"])


def _scrapes(folder: Path, kubeconfig: Path) -> list[dict[str, Any]]:
    """The page's scrape configuration, with credentials and by the API server's proxy."""
    server, tls = _credentials(folder, kubeconfig)
    found = re.search(r"```yaml\n(scrape_configs:.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None, f"{PAGE} has no scrape_configs"
    scrapes = yaml.safe_load(found[1])["scrape_configs"]
    for job in scrapes:
        job |= {"scheme": "https", "tls_config": tls}
        for discovery in job["kubernetes_sd_configs"]:
            discovery |= {"api_server": server, "tls_config": tls}
        job["relabel_configs"] += [
            {
                "source_labels": [
                    "__meta_kubernetes_namespace",
                    "__meta_kubernetes_pod_name",
                    "__meta_kubernetes_pod_container_port_number",
                ],
                "regex": "(.+);(.+);(.+)",
                "target_label": "__metrics_path__",
                "replacement": "/api/v1/namespaces/$1/pods/$2:$3/proxy/metrics",
            },
            {"target_label": "__address__", "replacement": urlsplit(server).netloc},
            # what ran before the test is of no interest, and its pods are gone
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
        ]
    return list(scrapes)


def _credentials(folder: Path, kubeconfig: Path) -> tuple[str, dict[str, str]]:
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    files = {
        "ca_file": cluster["certificate-authority-data"],
        "cert_file": user["client-certificate-data"],
        "key_file": user["client-key-data"],
    }
    for name, text in files.items():
        (folder / name).write_bytes(base64.b64decode(text))
    return cluster["server"], {name: str(folder / name) for name in files}
