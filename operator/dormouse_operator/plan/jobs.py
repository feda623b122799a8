"""The Jobs of the three stages. A Job's name is derived from its inputs, so a stage never runs twice at once."""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.results import EXIT_PERMANENT
from dormouse_api.runtime import QuantizeConfig
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.quantization import copy_folder
from dormouse_operator.observed import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_GENERATION,
    LABEL_INPUTS,
    Claim,
    Model,
    Profile,
)
from dormouse_operator.plan.common import Object, cache_mount, env, labels, metadata, pod_spec, tmp_mount, weights
from dormouse_operator.plan.placement import placement, resources, runs_remote_code
from dormouse_operator.settings import Settings

BACKOFF_LIMIT = 2
"""Pods the Job itself replaces (10 s, then 20 s later) before the operator's own, slower attempts take over."""
INSPECT_SECONDS = 300
LONGEST_SECONDS = 24 * 3600
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}


@dataclass(frozen=True)
class Work:
    """A stage to run: what names its Job, and the pod that does it."""

    stage: str
    inputs: tuple[str, ...]
    container: Object
    volumes: tuple[Object, ...]
    pod: Object
    deadline: int

    @property
    def digest(self) -> str:
        """Hash of the inputs; attempts of the same work share it."""
        return names.digest(*self.inputs)


def inspect(model: Model, settings: Settings) -> Work:
    """Look at the repository without fetching weights: needs no volume and no device."""
    source = model.spec.source
    container = _puller(model, settings, "inspect", {"DORMOUSE_REVISION": source.revision})
    inputs = (source.uri, source.revision, *_puller_inputs(model, settings))
    return Work(names.COMPONENT_INSPECT, inputs, container, _token_volumes(model), {}, INSPECT_SECONDS)


def pull(model: Model, settings: Settings, facts: Facts, claim: Claim, profile: Profile) -> Work:
    """Fetch one commit into the volume, on a node where the runtime could run too (volumes may not travel)."""
    container = _puller(model, settings, "fetch", {"DORMOUSE_COMMIT": facts.commit})
    volume, mount = weights(claim.name, read_only=False)
    container["volumeMounts"].append(mount)
    container["ports"] = [{"name": "admin", "containerPort": names.PORT_ADMIN, "protocol": "TCP"}]
    inputs = (model.spec.source.uri, facts.commit, claim.uid, *_puller_inputs(model, settings))
    volumes = (*_token_volumes(model), volume)
    return Work(names.COMPONENT_PULL, inputs, container, volumes, placement(profile), LONGEST_SECONDS)


def quantize(model: Model, facts: Facts, method: str, claim: Claim, profile: Profile) -> Work:
    """Make the quantized copy beside the weights, once, in the runtime image."""
    config = QuantizeConfig(
        model_dir=f"{names.MODELS_DIR}/{facts.commit}",
        out_dir=f"{names.MODELS_DIR}/{copy_folder(facts.commit, method)}",
        method=method,
        source=model.spec.source.uri,
        commit=facts.commit,
        remote_code=runs_remote_code(facts, profile),
    )
    volume, mount = weights(claim.name, read_only=False)
    container: Object = {
        "name": "quantize",
        "image": profile.spec.image,
        "imagePullPolicy": profile.spec.image_pull_policy.value,
        "args": ["quantize"],
        "env": env({"DORMOUSE_QUANTIZE": config.model_dump_json(), "HF_HUB_OFFLINE": "1"}),
        "resources": resources(profile, devices=False),
        "volumeMounts": [tmp_mount(), mount, cache_mount()],
    }
    inputs = (model.spec.source.uri, facts.commit, method, claim.uid, profile.spec.image)
    return Work(names.COMPONENT_QUANTIZE, inputs, container, (volume,), placement(profile), LONGEST_SECONDS)


def job_name(model: Model, work: Work, attempt: int) -> str:
    """The same work and attempt have the same name for ever."""
    again = (str(attempt),) if attempt else ()
    return names.job_name(model.name, work.stage, *work.inputs, *again)


def job(model: Model, work: Work, attempt: int) -> Object:
    """The Job of one attempt. Exit 42 ends it at once; an evicted pod is replaced and not counted."""
    meta = metadata(model, job_name(model, work, attempt), work.stage)
    meta["labels"][LABEL_INPUTS] = work.digest
    meta["annotations"] = {ANNOTATION_ATTEMPT: str(attempt), ANNOTATION_GENERATION: str(model.generation)}
    rules = [
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": work.container["name"], "operator": "In", "values": [EXIT_PERMANENT]},
        },
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    pod = pod_spec(work.container, list(work.volumes)) | work.pod
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": BACKOFF_LIMIT,
            "activeDeadlineSeconds": work.deadline,
            "podFailurePolicy": {"rules": rules},
            "template": {
                "metadata": {"labels": labels(model, work.stage)},
                "spec": pod | {"restartPolicy": "Never", "terminationGracePeriodSeconds": 10},
            },
        },
    }


def _puller(model: Model, settings: Settings, command: str, more: dict[str, str]) -> Object:
    values = {
        "DORMOUSE_SOURCE": model.spec.source.uri,
        "DORMOUSE_PROGRESS_PORT": str(names.PORT_ADMIN),
        **more,
    }
    mounts = [tmp_mount()]
    if settings.hub_endpoint:
        values["HF_ENDPOINT"] = settings.hub_endpoint
    if model.spec.source.token_secret_ref:
        values["DORMOUSE_TOKEN_FILE"] = names.TOKEN_FILE
        mounts.append({"name": "token", "mountPath": names.TOKEN_DIR, "readOnly": True})
    return {
        "name": "pull",
        "image": settings.puller_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [command],
        "env": env(values),
        "resources": SMALL,
        "volumeMounts": mounts,
    }


def _puller_inputs(model: Model, settings: Settings) -> tuple[str, ...]:
    secret = model.spec.source.token_secret_ref
    return (settings.puller_image, settings.hub_endpoint, f"{secret.name}/{secret.key}" if secret else "")


def _token_volumes(model: Model) -> tuple[Object, ...]:
    """The token as a file: the kubelet fetches it, the operator may not read Secrets."""
    secret = model.spec.source.token_secret_ref
    if secret is None:
        return ()
    items = [{"key": secret.key, "path": names.TOKEN_FILE.rsplit("/", 1)[1]}]
    return ({"name": "token", "secret": {"secretName": secret.name, "items": items, "defaultMode": 0o440}},)
