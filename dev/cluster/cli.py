"""The cluster's command line: reads arguments, calls the parts, prints for people."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from dev.cluster import forwarding, gpus, images, owner
from dev.cluster.layout import ClusterError, Layout, node_layout
from dev.cluster.lifecycle import Cluster
from dev.cluster.processes import resident_mib

_PASS_ON = ("exec", "kubectl", "helm")


def main(argv: list[str]) -> int:
    """Runs one command and returns the exit status."""
    own, theirs = _split(argv)
    options = _parser(theirs).parse_args(own)
    layout = node_layout(options.state)
    try:
        status: int = options.run(Cluster(layout), options)
    except (ClusterError, ProcessLookupError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        said = error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode(errors="replace")
        print(f"error: {' '.join(map(str, error.cmd))} failed: {said.strip()}", file=sys.stderr)
        return 1
    return status


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our own words, and those that belong to kubectl, helm or a command, also where they start with a dash."""
    own = 2 if argv[:1] == ["--state"] else sum(word.startswith("--state=") for word in argv[:1])
    if argv[own : own + 1] and argv[own] in _PASS_ON:
        return argv[: own + 1], argv[own + 1 :]
    return argv, []


def _parser(theirs: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.cluster", description=__doc__)
    parser.add_argument("--state", type=Path, help="the cluster's folder (default: .cluster in this clone)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, help_text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(run=run)
        return command

    add("up", _up, "start or repair the cluster; its state is kept from before")
    down = add("down", _down, "stop it and remove every trace but its state")
    down.add_argument("--wipe", action="store_true", help="remove the state too: objects, volumes, images")
    add("status", _status, "processes, memory, forwards, images")
    load = add("load", _load, "import image archives into the node")
    load.add_argument("archive", nargs="+", type=Path)
    for name, run, text in (
        ("restart", _restart, "stop and start one component, for example apiserver"),
        ("kill", _kill, "SIGKILL one component"),
    ):
        add(name, run, text).add_argument("name")
    forward = add("forward", _forward, "offer a Service on this machine's loopback, or list the forwards")
    forward.add_argument("port", nargs="?", type=int)
    forward.add_argument("target", nargs="?", help="namespace/service:port or address:port; none: end the forward")
    policies = add("policies", _policies, "let NetworkPolicies count (on), or every packet pass again (off)")
    policies.add_argument("wanted", choices=("on", "off"))
    gpu = add("gpus", _gpus, "let the node pretend to have so many nvidia.com/gpu")
    gpu.add_argument("count", type=int)
    for name, run, text in (
        ("exec", _exec, "run a command inside the cluster's network, with kubectl and helm at hand"),
        ("kubectl", _kubectl, "run kubectl as the administrator"),
        ("helm", _kubectl, "run helm as the administrator"),
    ):
        add(name, run, text).set_defaults(program=name, argv=theirs)
    return parser


def _up(cluster: Cluster, _: argparse.Namespace) -> int:
    cluster.up()
    return 0


def _down(cluster: Cluster, options: argparse.Namespace) -> int:
    started = time.monotonic()
    cluster.down(wipe=options.wipe)
    print(f"down in {time.monotonic() - started:.2f} s")
    return 0


def _status(cluster: Cluster, _: argparse.Namespace) -> int:
    other = owner.current()
    if other is not None and other != cluster.layout:
        print(f"the machine's node belongs to {other.state}")
    if not cluster.running():
        print("down; `python -m dev.cluster up` starts it")
        return 1
    total = 0
    for name in cluster.processes.names():
        pid = cluster.processes.alive(name)
        total += resident_mib(pid) if pid else 0
        print(f"{name:20} {f'pid {pid}' if pid else 'DEAD':12} {resident_mib(pid) if pid else 0:6} MiB")
    print(f"{'total':33} {total:6} MiB")
    if cluster.processes.alive("forwarder"):
        _print_rules(forwarding.rules(cluster.layout))
    for name in images.names(cluster.layout):
        print(f"image {name}")
    return 1 if cluster.processes.dead() else 0


def _load(cluster: Cluster, options: argparse.Namespace) -> int:
    _need_running(cluster)
    for archive in options.archive:
        started = time.monotonic()
        names = images.load(cluster.layout, archive)
        print(f"{archive.name}: {', '.join(names) or 'nothing new'} ({time.monotonic() - started:.1f} s)")
    return 0


def _restart(cluster: Cluster, options: argparse.Namespace) -> int:
    cluster.restart(options.name)
    return 0


def _kill(cluster: Cluster, options: argparse.Namespace) -> int:
    cluster.kill(options.name)
    print(f"{options.name} is dead; `python -m dev.cluster up` or `restart {options.name}` brings it back")
    return 0


def _forward(cluster: Cluster, options: argparse.Namespace) -> int:
    layout = cluster.layout
    if options.port is None:
        _print_rules(forwarding.rules(layout))
    elif options.target is None:
        _print_rules(forwarding.remove(layout, options.port))
    else:
        rules = forwarding.add(layout, options.port, options.target)
        try:
            forwarding.resolve(layout, options.target)
            rules = forwarding.rules(layout)
        except ClusterError as error:
            print(f"note: {error}; connections are refused until that changes", file=sys.stderr)
        _print_rules([rule for rule in rules if rule["port"] == options.port])
    return 0


def _print_rules(rules: forwarding.Rules) -> None:
    for rule in rules:
        where = rule["address"] if rule["address"] != rule["target"] else ""
        state = "" if rule["listening"] else "  NOT LISTENING: another process has the port"
        shown = f" ({where})" if where else ""
        print(f"forward 127.0.0.1:{rule['port']} -> {rule['target']}{shown}, {rule['open']} open{state}")


def _gpus(cluster: Cluster, options: argparse.Namespace) -> int:
    _need_running(cluster)
    gpus.pretend(cluster, options.count)
    print(f"the node has {options.count} nvidia.com/gpu")
    return 0


def _policies(cluster: Cluster, options: argparse.Namespace) -> int:
    _need_running(cluster)
    cluster.enforce_policies(options.wanted == "on")
    print(f"NetworkPolicies are {'enforced' if options.wanted == 'on' else 'not enforced'}")
    return 0


def _exec(cluster: Cluster, options: argparse.Namespace) -> int:
    _need_running(cluster)
    layout = cluster.layout
    environment = _environment(layout) | {"KUBECONFIG": str(layout.kubeconfigs / "admin")}
    command = ["nsenter", f"--net={layout.network}", *(options.argv or ["bash"])]
    os.execvpe(command[0], command, environment)  # noqa: S606 - an argv list, no shell


def _kubectl(cluster: Cluster, options: argparse.Namespace) -> int:
    _need_running(cluster)
    program = str(cluster.layout.bin / options.program)
    os.execve(program, [program, *options.argv], _environment(cluster.layout))  # noqa: S606 - an argv list, no shell


def _environment(layout: Layout) -> dict[str, str]:
    """The user's own, with our kubectl and helm first, and no proxy between them and loopback."""
    own = {"KUBECONFIG": str(layout.kubeconfig), "PATH": f"{layout.bin}:{os.environ.get('PATH', '')}"}
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | own


def _need_running(cluster: Cluster) -> None:
    if not cluster.running():
        raise ClusterError("the cluster is down: `python -m dev.cluster up` starts it")
