"""Talks to a running forwarder over its control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from dev.cluster.forward import API_TARGET
from dev.cluster.layout import ClusterError, Layout

_ANSWER_SECONDS = 10.0
Rules = list[dict[str, Any]]


def add(layout: Layout, port: int, target: str) -> Rules:
    """Forwards 127.0.0.1:port to the target (`namespace/service:port` or `address:port`); open connections stay."""
    try:
        return _order(layout, {"do": "set", "port": port, "target": target})
    except ClusterError as error:
        if "in use" in str(error):
            raise ClusterError(f"port {port} belongs to another process: stop it or forward another port") from None
        raise


def remove(layout: Layout, port: int) -> Rules:
    """Ends a rule; open connections stay until they end."""
    return _order(layout, {"do": "remove", "port": port})


def resolve(layout: Layout, target: str) -> None:
    """Looks a target up now; `ClusterError` says why it cannot be dialled."""
    _order(layout, {"do": "resolve", "target": target})


def rules(layout: Layout) -> Rules:
    """The forwarder's table."""
    return _order(layout, {"do": "list"})


def api_port(layout: Layout) -> int:
    """The machine's loopback port behind which the API server is."""
    for rule in rules(layout):
        if rule["target"] == API_TARGET:
            return int(rule["port"])
    raise ClusterError("the forwarder has no rule for the API server: run `python -m dev.cluster up` again")


def _order(layout: Layout, order: dict[str, Any]) -> Rules:
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(_ANSWER_SECONDS)
        try:
            control.connect(str(layout.forward_socket))
            control.sendall(json.dumps(order).encode() + b"\n")
            answer = json.loads(control.makefile().readline() or "{}")
        except OSError as error:
            raise ClusterError(f"the forwarder does not answer ({error}): run `python -m dev.cluster up`") from None
    if not answer.get("ok"):
        raise ClusterError(str(answer.get("error", "the forwarder gave no answer")))
    found: Rules = answer["rules"]
    return found
