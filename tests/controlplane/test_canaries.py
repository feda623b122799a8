"""Every secret that can be given has a value of its own, which is then looked for in all that is told.

Operator and router are real processes on a real API server. Pods say in their last words what hubs, stores and engines
might: a token, a URL with a password, a signed address. What is looked through: every object of the namespace but
Secrets (of pods all but the statuses that this test writes as their kubelet), both logs, both metrics, each answer.
"""

import asyncio
import base64
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dev import ports
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome
from dormouse_api.runtime import Passed, RuntimeState, Stage
from tests.controlplane.failing_jobs import waiting
from tests.controlplane.kubelet import COMMIT, Kubelet, Object, Rest, failed, running, stamp
from tests.controlplane.operatorprocess import Models, OperatorProcess, until
from tests.controlplane.routerprocess import NOWHERE
from tests.controlplane.test_router_path import until_ready
from tests.router.access.test_keyfiles import mount
from tests.router.fakes import Engine, slice_of

HUB, MIRROR = "hf_canaryHubTokenCanaryHubTokenCan", "canary-1-mirror-password"
STORE = {
    "accessKeyId": "AKIACANARY0STORE0KEY",
    "secretAccessKey": "canary-2-store/secret+key",
    "sessionToken": "canary-3-store-session",
}
REGISTRY, ENGINE, HEADER = "canary-4-registry-password", "canary-5-engine-key", "canary-6-header-of-traces"
DATABASE, LIMITS, HISTORIES = "canary-7-database", "canary-8-limits", "canary-9-histories"
PEPPER, MOUNTED, ADMIN = (
    "canary-10-pepper-of-keys",
    "dm-canary-11-mounted-key-000000",
    "dm-canary-12-admins-key-0000000",
)
BUCKET = {"AWS_ACCESS_KEY_ID": "AKIACANARY1BUCKETKEY", "AWS_SECRET_ACCESS_KEY": "canary-13-bucket-secret-key"}
WEBHOOK = f"whsec_{base64.b64encode(b'canary-14-of-webhooks-0123456789').decode()}"
PASSWORD, WRONG = "canary-15 correct horse battery", "dm-canary-16-wrong-key-000000000"
RECEIVER = "canary-17-in-a-receivers-address"
GIVEN = (
    *(HUB, MIRROR, *STORE.values(), REGISTRY, ENGINE, HEADER, DATABASE, LIMITS, HISTORIES, PEPPER, MOUNTED, ADMIN),
    *(*BUCKET.values(), WEBHOOK, PASSWORD, WRONG, RECEIVER),
)
CHAT: dict[str, Any] = {"model": "whole", "messages": [{"role": "user", "content": "Capital of France?"}]}
pytestmark = pytest.mark.timeout(300)


def words(text: str) -> str:
    """A puller's last words as they are on the wire, whatever our own types would leave out of them."""
    return Outcome(failure=Failure(reason=Reason.NETWORK, message="WORDS")).text().replace("WORDS", text)


def engine_words(text: str) -> str:
    passed = Passed(engine="vllm", reason=Reason.ENGINE_FAILED, message="WORDS", seconds=2)
    state = RuntimeState(stage=Stage.FAILED, model="engine", commit=COMMIT, passed=(passed,), failure=passed)
    return state.model_dump_json().replace("WORDS", text)


def crashed() -> Object:
    said = engine_words(f"RuntimeError: HTTP 401 with api_key={ENGINE} from https://u:{REGISTRY}@gpu.example/x")
    return running(last={"exitCode": 1, "message": said, "startedAt": stamp(), "finishedAt": stamp()}, restarts=1)


SIGNED = f"https://b.example/w?X-Amz-Credential={STORE['accessKeyId']}%2Fx&X-Amz-Signature={STORE['secretAccessKey']}"
HUB_SOURCE: Object = {"uri": "hf://org/secretive", "tokenSecretRef": {"name": "hub"}}
STORE_SOURCE: Object = {"uri": "s3://bucket/secretive", "credentialsSecretRef": {"name": "store"}}
PLAYS: dict[str, tuple[str, Object, Object, str]] = {
    "refused": ("inspect", HUB_SOURCE, failed(1, words(f"401: the hub refused {HUB}")), "Network"),
    "unreachable": (
        "inspect",
        HUB_SOURCE,
        failed(
            1, words(f"no good answer from https://me:{MIRROR}@hub.example/api ({{'Authorization': 'Bearer {HUB}'}})")
        ),
        "Network",
    ),
    "traceback": (
        "pull",
        HUB_SOURCE,
        failed(1, f"Traceback\nhttpx.ConnectError: https://me:{MIRROR}@hub.example with Bearer {HUB}"),
        "JobFailed",
    ),
    "signed": (
        "pull",
        STORE_SOURCE,
        failed(1, words(f"403 of {SIGNED}&X-Amz-Security-Token={STORE['sessionToken']}&x=1")),
        "Network",
    ),
    "registry": (
        "inspect",
        STORE_SOURCE,
        waiting("ErrImagePull", f'Head "https://puller:{REGISTRY}@registry.example/v2/p": dial tcp: no such host'),
        "ImagePullFailed",
    ),
    "engine": ("runtime", HUB_SOURCE, crashed(), "EngineFailed"),
}
"""By model: whose pod does not well, what of, and the reason that Ready has then."""


@dataclass
class Heard:
    """All that was told, by where."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=lambda: list(GIVEN))

    def add(self, where: str, text: str) -> None:
        self.texts.append((where, text))

    def leaks(self) -> list[str]:
        forms = {form for secret in self.secrets for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])}
        return [f"{where}: {text[max(0, at - 120) : at + 40]}" for where, text in self.texts for form in forms
                if (at := text.find(form)) >= 0]  # fmt: skip


@pytest.fixture
def heard() -> Heard:
    return Heard()


def asked(rest: Rest, path: str) -> Object:
    """What is at `path`; the API server refuses for a moment while it begins to keep a kind."""

    def look() -> list[Object]:
        try:
            return [rest.get(path)]
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (429, 503):
                raise
            return []

    return until(look, why=f"an answer of {path}")[0]


def objects(rest: Rest, namespace: str) -> Iterator[tuple[str, str]]:
    """Every object of the namespace but Secrets, by kind."""
    groups = [group["preferredVersion"]["groupVersion"] for group in rest.get("/apis")["groups"]]
    for base in ("/api/v1", *(f"/apis/{group}" for group in groups)):
        for kind in asked(rest, base)["resources"]:
            if not kind["namespaced"] or "list" not in kind["verbs"] or kind["name"] == "secrets":
                continue
            items = asked(rest, f"{base}/namespaces/{namespace}/{kind['name']}").get("items", [])
            if kind["name"] == "pods":
                for pod in items:
                    pod["status"].pop("containerStatuses", None)
            for item in items:
                yield f"{kind['name']}/{item['metadata']['name']}", json.dumps(item)


def secret(rest: Rest, namespace: str, name: str, values: dict[str, str]) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    rest.request("POST", f"/api/v1/namespaces/{namespace}/secrets", body)


def played(kubelet: Kubelet) -> None:
    """Let the pods of each model do as `PLAYS` says; all others do well."""
    usual = dict(kubelet.script)

    def of(component: str) -> Any:
        def play(pod: Object) -> Object | None:
            whose = PLAYS.get(pod["metadata"]["labels"][names.LABEL_MODEL])
            return whose[2] if whose is not None and whose[0] == component else usual[component](pod)

        return play

    kubelet.script = {component: of(component) for component in usual}


@pytest.fixture
def told(plane: ControlPlane, rest: Rest, kubelet: Kubelet, own_models: Models, tmp_path: Path, heard: Heard) -> Models:
    """Models with secrets, whose pods have said what they should not, under an operator that has ended."""
    secret(rest, own_models.namespace, "hub", {"token": HUB})
    secret(rest, own_models.namespace, "store", STORE)
    played(kubelet)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={HEADER}"}
    env |= {
        "DORMOUSE_NAMESPACES": own_models.namespace,
        "DORMOUSE_LOG_LEVEL": "DEBUG",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }
    log = tmp_path / "operator.log"
    with OperatorProcess(plane.kubeconfig, log, **env, DORMOUSE_MAX_CONCURRENT_PULLS="20") as operator:
        own_models.apply("whole", source=HUB_SOURCE, storage={"share": False})
        for name, (_, source, _, _) in PLAYS.items():
            own_models.apply(name, source=source, storage={"share": False})
        for name in ("engine", "whole"):
            own_models.await_reason(name, "ScaledToZero")
        own_models.wake("engine", 600)
        for name, (_, _, _, reason) in PLAYS.items():
            own_models.await_reason(name, reason)
        for path in ("/metrics", "/healthz", "/readyz"):
            heard.add(f"the operator's {path}", operator.ask(path).text)
        operator.stop()
    heard.add("the operator's log", log.read_text())
    return own_models


def test_no_secret_is_in_any_object_event_log_or_metric_of_the_operator(told: Models, heard: Heard) -> None:
    found = list(objects(told.rest, told.namespace))
    kinds = {name.partition("/")[0] for name, _ in found}
    assert {"events", "inferencemodels", "jobs", "deployments", "pods", "leases", "persistentvolumeclaims"} <= kinds
    heard.texts += found
    events = [text for name, text in found if name.startswith("events/")]
    assert any("***" in text for text in events), "they say that something was left out"
    for name in PLAYS:
        assert "***" in told.condition(name)["message"], name
    assert heard.leaks() == []


@dataclass
class Served:
    """A router process, its answers noted; what it logs is in `log`."""

    url: str
    ops: str
    log: Path
    http: httpx.AsyncClient
    heard: Heard

    async def call(self, method: str, path: str, key: str = "", shown: str = "", **more: Any) -> httpx.Response:
        """`shown`: the field of the answer that tells a secret to whom it belongs; from then on it is looked for."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = await self.http.request(method, self.url + path, headers=headers, **more)
        text = answer.text
        if shown:
            self.heard.secrets.append(answer.json()[shown])
            text = text.replace(answer.json()[shown], "")
        self.heard.add(f"{method} {path[:8]} {answer.status_code}", f"{answer.headers} {text}")
        return answer


@asynccontextmanager
async def router(plane: ControlPlane, folder: Path, heard: Heard, **env: str) -> AsyncIterator[Served]:
    port, ops = ports.reserve(2)
    log = folder / f"router-{port}.log"
    common = {"KUBECONFIG": str(plane.kubeconfig), "DORMOUSE_HOST": "127.0.0.1", "DORMOUSE_DRAIN_DELAY": "0"}
    env |= common | {"DORMOUSE_PORT": str(port), "DORMOUSE_OPS_PORT": str(ops), "POD_NAME": "router-1"}
    with log.open("wb") as out:
        arguments = (sys.executable, "-m", "tests.controlplane.routerprocess")
        process = await asyncio.create_subprocess_exec(*arguments, env=os.environ | env, stdout=out, stderr=out)
    try:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            yield Served(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops}", log, http, heard)
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 90)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        heard.add("a router's log", log.read_text())


def given(folder: Path, namespace: str) -> dict[str, str]:
    """A router that has every secret, of servers that are not there; only its database is."""
    keys = {"mounted": MOUNTED, "admin": json.dumps({"key": ADMIN, "role": "admin"}), "short": WRONG[:14]}
    mount(folder / "keys", "team", keys | {"broken": json.dumps({"key": WRONG, "role": WRONG})})
    hooks = folder / "hooks.json"
    hooks.write_text(json.dumps([{"name": "h", "url": f"https://x.invalid/{RECEIVER}", "secrets": [WEBHOOK]}]))
    return BUCKET | {
        "DORMOUSE_NAMESPACES": namespace,
        "DORMOUSE_DEFAULT_NAMESPACE": namespace,
        "DORMOUSE_DATABASE_URL": f"sqlite:///{folder}/router.db",
        "DORMOUSE_FILES": "s3://bucket/prefix",
        "DORMOUSE_FILES_ENDPOINT": "http://127.0.0.1:1",
        "DORMOUSE_SESSIONS": f"redis://:{HISTORIES}@127.0.0.1:1/0",
        "DORMOUSE_ACCESS_LIMITS": f"redis://:{LIMITS}@127.0.0.1:1/0",
        "DORMOUSE_ACCESS_MODES": "keys,serviceaccounts",
        "DORMOUSE_ACCESS_KEYS": str(folder / "keys"),
        "DORMOUSE_ACCESS_PEPPER": PEPPER,
        "DORMOUSE_ACCESS_REGISTER": "Allowed",
        "DORMOUSE_WEBHOOK_ENDPOINTS": str(hooks),
        "DORMOUSE_ACCESS_LOG": "On",
        "DORMOUSE_AUDIT": "stdout",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{HEADER}",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
    }


async def accounts(served: Served, tokens: list[str]) -> tuple[str, ...]:
    """Everything about keys and passwords, well and badly done; the keys that somebody may come in with."""
    ann = {"username": "ann", "password": PASSWORD}
    for body in (ann, ann, ann | {"password": PASSWORD[:9]}, ann | {"password": [PASSWORD]}, {"password": PASSWORD}):
        await served.call("POST", "/v1/auth/register", json=body)
    await served.call("POST", "/v1/auth/register", content=f'{{"username": "ann", "password": "{PASSWORD}')
    await served.call("POST", "/v1/auth/token", json=ann | {"password": f"{PASSWORD}!"})
    signed = (await served.call("POST", "/v1/auth/token", json=ann, shown="access_token")).json()["access_token"]
    made = (await served.call("POST", "/v1/auth/keys", signed, "key", json={"name": "k"})).json()["key"]
    hook = await served.call("GET", "/v1/webhooks/default/secret", made, "key")
    assert hook.json()["key"].startswith("whsec_")
    served.heard.secrets += tokens
    assert (await served.call("GET", "/v1/auth/me", tokens[0])).json()["id"].startswith("serviceaccount:")
    for key in (tokens[1], WRONG, f"{signed}x", made[::-1]):
        assert (await served.call("GET", "/v1/auth/me", key)).status_code == 401
    for path in ("/v1/auth/keys", "/v1/auth/users", "/v1/auth/me"):
        await served.call("GET", path, ADMIN)
    await served.call("POST", "/v1/auth/signing-keys", ADMIN)
    return made, signed, MOUNTED, tokens[0]


async def calls(served: Served, key: str) -> None:
    """By header and by path: some are answered, some are not."""
    for prefix, shown in (("", key), (f"/key/{key}", "")):
        assert (await served.call("POST", f"{prefix}/v1/chat/completions", shown, json=CHAT)).status_code == 200
        for path in ("/api/tags", "/nowhere", "/v1/models/none", "/v1/models/"):
            await served.call("GET", f"{prefix}{path}", shown)
    for start in (f"//key/{key}", f"/%6bey/{key}", f"/KEY/{key}", f"/key/{key}%2F.."):
        await served.call("GET", f"{start}/api/tags")


async def more_calls(served: Served, key: str) -> None:
    """Those that wait for something which is not there."""
    asleep = CHAT | {"model": "asleep", "max_tokens": 9}
    assert (await served.call("POST", f"/key/{key}/v1/messages", json=asleep)).is_error
    await served.call("POST", "/chat", key, json={"model": "whole", "message": "Hi", "session_id": "s1"})
    await served.call("POST", "/v1/files", key, files={"file": ("a", b"x")}, data={"purpose": "user_data"})
    prediction = {"version": "whole", "input": {"prompt": "Hi"}, "webhook": f"https://me:{RECEIVER}@x.invalid/"}
    await served.call("POST", "/v1/predictions", key, json=prediction)


async def test_no_secret_is_in_any_answer_object_log_or_metric_of_the_router(
    plane: ControlPlane, own_models: Models, tmp_path: Path, heard: Heard
) -> None:
    space = own_models.namespace
    plane.kubectl("create", "serviceaccount", "app", "-n", space)
    ask = ("create", "token", "app", "-n", space)
    tokens = [plane.kubectl(*ask, *more).stdout.strip() for more in (("--audience", "dormouse"), ())]
    engine = Engine()
    await engine.start()
    for name in ("whole", "asleep"):
        own_models.apply(name, scaling={"holdSeconds": 1})
    _slice(own_models, engine.port)
    away = {"DORMOUSE_DATABASE_URL": f"postgresql://me:{DATABASE}@127.0.0.1:1/x", "DORMOUSE_NAMESPACES": space}
    async with (
        router(plane, tmp_path, heard, **given(tmp_path, space)) as served,
        router(plane, tmp_path, heard, **away) as lost,
    ):
        await until_ready(served.http, f"{served.ops}/readyz")
        for key in await accounts(served, tokens):
            await calls(served, key)
        await more_calls(served, MOUNTED)
        for path in ("/diag", "/status", "/metrics", "/health", "/jobs", "/v1/usage", "/v1/auth/keys?everybody=true"):
            assert (await served.call("GET", path, ADMIN)).status_code == 200, path
        heard.add("the router's metrics", (await served.http.get(f"{served.ops}/metrics")).text)
        async with asyncio.timeout(90):
            while "postgresql" not in lost.log.read_text():  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.1)
    await engine.stop()
    with closing(sqlite3.connect(tmp_path / "router.db")) as database:
        heard.secrets += [json.loads(row[0])["d"] for row in database.execute("SELECT private FROM signing_keys")]
        for table in ("api_keys", "users"):
            heard.add(table, " ".join(str(row) for row in database.execute(f"SELECT * FROM {table}")))  # noqa: S608
    heard.texts += [("what the engine got", f"{each.head!r} {each.body!r}") for each in engine.seen]
    heard.texts += list(objects(own_models.rest, space))
    assert len(engine.seen) >= 8
    assert heard.leaks() == []


def _slice(models: Models, port: int) -> None:
    body = slice_of("whole", port, namespace=models.namespace, host=NOWHERE)
    body["metadata"].pop("uid")
    path = f"/apis/discovery.k8s.io/v1/namespaces/{models.namespace}/endpointslices"
    models.rest.request("POST", path, {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"} | body)
