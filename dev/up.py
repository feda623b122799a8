"""`make up`: the whole product on this machine, shown by a chat with a model that sleeps. `python -m dev.up`."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from dev import cache, chat, testbed
from dev.cluster.layout import HUB_PORT, REPOSITORY, ROUTER_PORT, ClusterError
from dev.target import Target
from dormouse_api.conditions import Reason

MANIFEST = Path("manifests/quickstart/model.yaml")
MODEL, QUESTION = "tiny-chat", "What is the capital of France?"
URL = f"http://127.0.0.1:{ROUTER_PORT}"
_FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_PULL_SECONDS = 300.0
_CATALOGUE_SECONDS = 30.0


def main() -> int:
    started = time.monotonic()
    try:
        there = testbed.ensure()
        with _reachable(there) as url:
            reason = _quickstart(there)
            _await_listing(url, time.monotonic() + _CATALOGUE_SECONDS)
            _chat(there, url, wakes=reason != Reason.SERVING)
        _goodbye(there, time.monotonic() - started)
    except testbed.FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _reachable(there: Target) -> Iterator[str]:
    """The router's URL on this machine: the local cluster's forwarder offers it, elsewhere kubectl does for a while."""
    if there.layout is not None:
        yield f"http://127.0.0.1:{ROUTER_PORT}"
        return
    port = ROUTER_PORT if _free(ROUTER_PORT) else 0
    service = ("-n", testbed.NAMESPACE, f"service/{testbed.RELEASE}", f"{port or ''}:{ROUTER_PORT}")
    command = [there.kubectl_program, "port-forward", *service]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=there.environment()) as forward:
        said = forward.stdout.readline() if forward.stdout else ""
        found = _FORWARDED.match(said)
        if not found:
            forward.terminate()
            raise ClusterError(f"{' '.join(command)} does not work: its message is above")
        try:
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            forward.terminate()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _quickstart(there: Target) -> str:
    """Applies the model, waits until it is ready to be called, and returns the reason of its Ready condition."""
    cache.say(f"kubectl apply -f {MANIFEST}")
    there.kubectl("apply", "-f", str(REPOSITORY / MANIFEST))
    deadline, last = time.monotonic() + _PULL_SECONDS, ""
    while True:
        found = there.get(f"{chat.MODELS}/{MODEL}", "--namespace", "default") or {}
        ready = {c["type"]: c for c in found.get("status", {}).get("conditions", [])}.get("Ready", {})
        said = f"{ready.get('reason', 'Pending')}: {ready.get('message', 'waiting for the operator')}"
        if said != last:
            cache.say(f"{MODEL}: {said}")
            last = said
        if ready.get("status") == "True":
            break
        if time.monotonic() > deadline:
            raise ClusterError(f"{MODEL} was not ready within {_PULL_SECONDS:.0f} s; last seen: {said}")
        time.sleep(0.25)
    return str(ready["reason"])


def _await_listing(url: str, deadline: float) -> None:
    """Waits until the router knows the model: its watch is a moment behind ours."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{url}/v1/models", timeout=5, trust_env=False)
            if answer.status_code == httpx.codes.OK and MODEL in {row["id"] for row in answer.json()["data"]}:
                return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the router at {url} does not list {MODEL}: see `kubectl -n dormouse-system logs -l "
                "app.kubernetes.io/component=router`"
            )
        time.sleep(0.1)


def _chat(there: Target, url: str, wakes: bool) -> None:
    before = chat.starts(there, MODEL)
    print(f"\n> {QUESTION}", flush=True)
    answer = chat.ask(url, MODEL, QUESTION)
    if not answer.text:
        raise ClusterError(f"{MODEL} answered without a word: see `kubectl describe inferencemodel {MODEL}`")
    deadline = time.monotonic() + (5 if wakes else 0)
    while (after := chat.starts(there, MODEL)) == before and time.monotonic() < deadline:
        time.sleep(0.2)  # the operator writes the timeline a moment after the pod is ready
    print(f"\nWhere the time went:\n{chat.table(answer, after[-1] if after != before else None)}\n")


def _goodbye(there: Target, seconds: float) -> None:
    print(f"Up in {seconds:.0f} s.")
    if there.layout is None:
        print(f"  router      kubectl port-forward -n {testbed.NAMESPACE} service/dormouse {ROUTER_PORT}")
    else:
        print(f"  router      {URL}  (OpenAI on /v1, Ollama on /api)")
        print(f"  model hub   http://127.0.0.1:{HUB_PORT}")
        print(f"  kubeconfig  export KUBECONFIG={there.kubeconfig} PATH={there.layout.bin}:$PATH")
    print("Next:")
    print("  kubectl get inferencemodels.dormouse.dev -w      # it falls asleep a minute after the last call")
    print(f"  OLLAMA_HOST={URL} ollama run tiny      # any Ollama or OpenAI client works unchanged")
    body = f'{{"model": "tiny", "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'
    print(f"  curl {URL}/v1/chat/completions -d '{body}'")


if __name__ == "__main__":
    sys.exit(main())
