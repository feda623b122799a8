"""The Deployment of the runtime. Its template depends on the spec and the weights only, so a wake never rolls it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from dormouse_api import names
from dormouse_api.adapters import LoraConfig
from dormouse_api.model import Task
from dormouse_api.profile import Device, UpdateStrategy
from dormouse_api.runtime import EntryPoint, RuntimeConfig
from dormouse_api.speculative import DraftStatus
from dormouse_operator.decide import draft, parsers, remotecode
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.fit import preflight
from dormouse_operator.decide.quantization import Serving
from dormouse_operator.observed import (
    LABEL_ASKED,
    LABEL_TURNED_OUT,
    LABEL_WOKEN,
    Claim,
    Model,
    Profile,
    Runtime,
)
from dormouse_operator.plan.common import Object, cache_mount, env, labels, metadata, pod_spec, tmp_mount, weights
from dormouse_operator.plan.placement import beside, on_claim, placement, resources

NOTHING: Mapping[str, str] = MappingProxyType({})
DRAIN_SECONDS = 300
GRACE_SECONDS = DRAIN_SECONDS + 15
"""The supervisor drains on SIGTERM, for as long as the router's own streams may end; the rest is for the engine to end.
A pod with nothing in flight is gone in a second or two."""
PROBE_SECONDS = 30
"""`/readyz` holds the probe up to about 25 s until the engine is ready: readiness without a polling grid."""


def selector(model: Model) -> dict[str, str]:
    """Labels of runtime pods. A Deployment's selector can never change: two stable labels."""
    return {names.LABEL_MODEL: model.name, names.LABEL_COMPONENT: names.COMPONENT_RUNTIME}


def config(
    model: Model, facts: Facts, serving: Serving, profile: Profile, drafted: DraftStatus | None = None
) -> RuntimeConfig:
    """What the supervisor is told."""
    spec, engine, accelerator = profile.spec, model.spec.engine, profile.spec.accelerator
    embeds = "embedding" in facts.capabilities and "completion" not in facts.capabilities
    task = engine.task if engine.task is not Task.AUTO else Task.EMBED if embeds else Task.GENERATE
    fitted = preflight(model, facts, profile, serving.quantization)
    return RuntimeConfig(
        model=model.name,
        commit=facts.commit,
        source=model.spec.source.uri,
        attempts=serving.attempts,
        device=spec.device.value,
        devices=accelerator.count if accelerator and spec.device is Device.CUDA else 1,
        kv_cache_bytes=fitted.kv_bytes,
        max_num_seqs=spec.max_num_seqs,
        max_model_len=engine.max_model_len,
        dtype=engine.dtype.value,
        task=task.value,
        custom=EntryPoint(path=spec.custom.entry_point, config=spec.custom.config or {}) if spec.custom else None,
        tool_call_parser=parsers.chosen(engine.tool_call_parser, facts.tool_call_parser),
        reasoning_parser=parsers.chosen(engine.reasoning_parser, facts.reasoning_parser),
        chat_template=engine.chat_template,
        speculative=draft.config(model, drafted),
        lora=_lora(model),
        args=(*(spec.args or ()), *(engine.args or ())),
        remote_code=remotecode.runs(facts, profile),
        adapt=engine.adapt,
        planned_bytes=fitted.planned_bytes,
        start_seconds=spec.start_seconds,
        stall_seconds=spec.stall_seconds,
        drain_seconds=DRAIN_SECONDS,
    )


def _lora(model: Model) -> LoraConfig | None:
    """Which adapters there are is not in it: they come and go without another template."""
    if model.spec.adapters is None:
        return None
    room = model.spec.engine.lora
    return LoraConfig(list=model.uid, max_rank=room.max_rank, max_active=room.max_active)


@dataclass(frozen=True)
class Marks:
    """What the Deployment remembers of its model's wakes, in seconds since the epoch: see `observed.Runtime`."""

    woken_at: float | None = None
    asked_at: float | None = None
    turned_out: float | None = None

    def labels(self) -> dict[str, str]:
        """As they are kept."""
        known = {LABEL_WOKEN: self.woken_at, LABEL_ASKED: self.asked_at, LABEL_TURNED_OUT: self.turned_out}
        return {name: _label_time(at) for name, at in known.items() if at is not None}


def _label_time(seconds: float) -> str:
    """ISO 8601 without the characters that no label's value may have."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def deployment(model: Model, template: Object, strategy: Object, replicas: int, marks: Marks) -> Object:
    """The intent. `replicas` is always part of it: left out, the API server would make it 1."""
    meta = metadata(model, names.runtime_name(model.name), names.COMPONENT_RUNTIME)
    meta["labels"] |= marks.labels()
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "strategy": strategy,
            "selector": {"matchLabels": selector(model)},
            "template": template,
        },
    }


def strategy(profile: Profile) -> Object:
    """Recreate needs no second device; RollingUpdate only where the administrator says there is room."""
    if profile.spec.update_strategy is UpdateStrategy.RECREATE:
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def template(
    model: Model, runtime: RuntimeConfig, profile: Profile, claim: Claim, more: Mapping[str, str] = NOTHING
) -> Object:
    """The pod template. `more`: of its environment."""
    volume, mount = weights(claim.name, read_only=True)
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": profile.spec.shared_memory}}
    container: Object = {
        "name": "runtime",
        "image": profile.spec.image,
        "imagePullPolicy": profile.spec.image_pull_policy.value,
        "args": ["serve"],
        "env": env({names.ENV_RUNTIME_CONFIG: runtime.model_dump_json(), "HF_HUB_OFFLINE": "1", **more}),
        "ports": [
            {"name": "serving", "containerPort": names.PORT_SERVING, "protocol": "TCP"},
            {"name": "admin", "containerPort": names.PORT_ADMIN, "protocol": "TCP"},
        ],
        "resources": resources(profile, devices=True),
        "volumeMounts": [tmp_mount(), {"name": "shm", "mountPath": "/dev/shm"}, mount, cache_mount()],  # noqa: S108
        "readinessProbe": _probe("/readyz", PROBE_SECONDS, period=1, failures=1),
        "livenessProbe": _probe("/livez", 5, period=10, failures=6),
    }
    pod = pod_spec(container, [memory, volume]) | placement(profile) | beside(claim)
    return {
        "metadata": {"labels": labels(model, names.COMPONENT_RUNTIME) | on_claim(claim)},
        "spec": pod | {"terminationGracePeriodSeconds": GRACE_SECONDS},
    }


def restarted(template: Object, at: str | None) -> Object:
    """The template with the moment of the last restart that was asked for: with another, its pods are replaced."""
    if at is None:
        return template
    meta = template["metadata"]
    return template | {
        "metadata": meta | {"annotations": (meta.get("annotations") or {}) | {names.ANNOTATION_RESTARTED: at}}
    }


def frozen(runtime: Runtime) -> tuple[Object, Object]:
    """(template, strategy) as they run now, for while a new revision is being made ready behind them."""
    return dict(runtime.template), dict(runtime.strategy)


def _probe(path: str, timeout: int, *, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": names.PORT_ADMIN},
        "timeoutSeconds": timeout,
        "periodSeconds": period,
        "failureThreshold": failures,
    }
