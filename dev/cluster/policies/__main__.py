"""The enforcer: reads pods, namespaces and policies again and again, and writes the firewall when they have changed.

Runs inside the cluster's network namespace. A dead API server changes nothing: the last rules stand, as they do when
the enforcer itself ends (`python -m dev.cluster policies off` removes them). Established connections live on.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from dev.cluster.layout import API_PORT
from dev.cluster.policies import firewall
from dev.cluster.policies.ruleset import ruleset
from dev.cluster.policies.selecting import World, world
from dev.cluster.probe import Api

_PAUSE_SECONDS = 0.3
_LISTS = ("/api/v1/pods", "/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies")


def main(pki: Path) -> int:
    """Enforces until SIGTERM."""
    api = Api(f"https://127.0.0.1:{API_PORT}", pki)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    last = ""
    while not stop.is_set():
        try:
            wanted = ruleset(_read(api))
        except (OSError, ValueError) as error:
            print(f"the API server does not answer: {error}", file=sys.stderr, flush=True)
        else:
            if wanted != last:
                firewall.apply(wanted)
                last = wanted
        stop.wait(_PAUSE_SECONDS)
    return 0


def _read(api: Api) -> World:
    pods, namespaces, policies = (api.json(path)["items"] for path in _LISTS)
    return world(pods, namespaces, policies)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
