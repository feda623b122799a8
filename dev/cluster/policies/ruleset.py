"""NetworkPolicies as one nftables table. Pure: a world in, the text of one transaction out. IPv4, as the cluster is.

A chain for each pod and direction that some policy selects: what a rule allows returns from it, the rest is dropped.
So a packet between two such pods passes both. What a connection in progress sends is never asked again, and what the
node itself sends (probes of the kubelet, the forwarder) passes no hook of these: Kubernetes promises it the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dev.cluster.policies.selecting import Object, Pod, World, peers, selecting

TABLE = "inet dormouse_policies"
REMOVE = f"table {TABLE}\ndelete table {TABLE}\n"
"""Fails nowhere: the first line makes the table where there is none."""
_KEPT = "ct state established,related accept"


def ruleset(there: World) -> str:
    """The whole table; the one before goes in the same transaction."""
    chains: list[str] = []
    into: list[str] = []
    out: list[str] = []
    for pod in sorted(there.pods, key=lambda pod: pod.address):
        for direction, prefix, jumps, side in (("Ingress", "in", into, "daddr"), ("Egress", "out", out, "saddr")):
            if found := selecting(pod, direction, there):
                name = f"{prefix}_{pod.address.replace('.', '_')}"
                allowed = (f"{each} return" for each in _allowed(pod, direction, found, there))
                chains.append(_chain(name, [*(each.strip() for each in allowed), "counter drop"]))
                jumps.append(f"ip {side} {pod.address} jump {name}")
    # what a pod sends to the node itself (cluster DNS, the API server) is not forwarded, and asked all the same
    hooks = [
        _chain("forwarded", ["type filter hook forward priority -5; policy accept", _KEPT, *out, *into]),
        _chain("to_node", ["type filter hook input priority -5; policy accept", _KEPT, *out]),
    ]
    return f"{REMOVE}table {TABLE} {{\n{''.join([*chains, *hooks])}}}\n"


def _chain(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"  chain {name} {{", *(f"    {line};" for line in lines), "  }", ""])


def _allowed(pod: Pod, direction: str, policies: Sequence[Object], there: World) -> Iterator[str]:
    """Matches of what some rule of some policy allows, each once: policies add up."""
    seen = dict.fromkeys(
        match
        for policy in policies
        for rule in policy["spec"].get(direction.lower()) or ()
        for match in _matches(rule, direction, pod, policy["metadata"]["namespace"], there)
    )
    return iter(seen)


def _matches(rule: Object, direction: str, pod: Pod, home: str, there: World) -> Iterator[str]:
    incoming = direction == "Ingress"
    side = "saddr" if incoming else "daddr"
    for peer in rule.get("from" if incoming else "to") or (None,):
        pods = there.pods if peer is None or "ipBlock" in peer else peers(peer, home, there)
        for port in rule.get("ports") or (None,):
            if port is not None and isinstance(port.get("port"), str):
                yield from _named(str(port["port"]), [pod] if incoming else pods, _who(peer, side, pods), incoming)
            elif (who := _who(peer, side, pods)) is not None:
                yield f"{who} {_number(port)}".strip()


def _who(peer: Object | None, side: str, pods: Sequence[Pod]) -> str | None:
    """The match of a peer: empty for anybody, None for nobody."""
    if peer is None:
        return ""
    if "ipBlock" not in peer:
        return f"ip {side} {{ {_listed(pod.address for pod in pods)} }}" if pods else None
    block = peer["ipBlock"]
    if ":" in block["cidr"]:
        return None
    spared = block.get("except") or ()
    return f"ip {side} {block['cidr']}" + (f" ip {side} != {{ {_listed(spared)} }}" if spared else "")


def _named(name: str, targets: Sequence[Pod], who: str | None, incoming: bool) -> Iterator[str]:
    """A named port is that of the pod which is called: on the way out each has a number of its own."""
    if who is None:
        return
    for target in targets:
        if name in target.ports:
            number, protocol = target.ports[name]
            where = who if incoming else f"ip daddr {target.address}"
            yield f"{where} {protocol} dport {number}".strip()


def _number(port: Object | None) -> str:
    if port is None:
        return ""
    protocol = str(port.get("protocol", "TCP")).lower()
    if "port" not in port:
        return f"meta l4proto {protocol}"
    last = f"-{port['endPort']}" if "endPort" in port else ""
    return f"{protocol} dport {port['port']}{last}"


def _listed(addresses: Iterable[str]) -> str:
    return ", ".join(sorted(set(addresses)))
