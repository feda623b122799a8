"""The Jobs of a model. A Job's name is derived from its inputs, so a stage never runs twice at once."""

from dataclasses import dataclass

from dormouse_api import names
from dormouse_api.results import EXIT_PERMANENT
from dormouse_api.runtime import QuantizeConfig
from dormouse_api.source import Place
from dormouse_operator.decide import remotecode
from dormouse_operator.decide.facts import Facts
from dormouse_operator.decide.quantization import copy_folder
from dormouse_operator.decide.volume import room
from dormouse_operator.observed import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_GENERATION,
    ANNOTATION_ROOM,
    LABEL_INPUTS,
    Claim,
    Model,
    Profile,
)
from dormouse_operator.plan import calibration, sources
from dormouse_operator.plan.common import Object, cache_mount, env, labels, metadata, pod_spec, tmp_mount, weights
from dormouse_operator.plan.placement import beside, on_claim, placement, resources
from dormouse_operator.settings import Settings

BACKOFF_LIMIT = 2
"""Pods the Job itself replaces (10 s, then 20 s later) before the operator's own, slower attempts take over."""
INSPECT_SECONDS = 300
LONGEST_SECONDS = 24 * 3600
SWEEP_SECONDS = 3600
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
    claim: Claim | None = None
    """The volume it writes to."""

    @property
    def digest(self) -> str:
        """Hash of the inputs; attempts of the same work share it."""
        return names.digest(*self.inputs)


def inspect(model: Model, settings: Settings) -> Work:
    """Look at the repository without fetching weights: needs no volume and no device."""
    source = model.spec.source
    container = puller(source, settings, "inspect", {"DORMOUSE_REVISION": source.revision})
    inputs = (source.uri, source.revision, *puller_inputs(source, settings))
    volumes = sources.access(source, settings).volumes
    return Work(names.COMPONENT_INSPECT, inputs, container, volumes, {}, INSPECT_SECONDS)


def pull(model: Model, settings: Settings, facts: Facts, claim: Claim, profile: Profile) -> Work:
    """Fetch one commit into the volume, on a node where the runtime could run too (volumes may not travel)."""
    source = model.spec.source
    container = puller(source, settings, "fetch", {"DORMOUSE_COMMIT": facts.commit})
    volume, mount = weights(claim.name, read_only=False)
    container["volumeMounts"].append(mount)
    container["ports"] = [{"name": "admin", "containerPort": names.PORT_ADMIN, "protocol": "TCP"}]
    inputs = (source.uri, facts.commit, claim.uid, *puller_inputs(source, settings))
    volumes = (*sources.access(source, settings).volumes, volume)
    return Work(
        names.COMPONENT_PULL, inputs, container, volumes, placement(profile) | beside(claim), LONGEST_SECONDS, claim
    )


def draft(place: Place, settings: Settings, claim: Claim, profile: Profile) -> Work:
    """Fetch what a revision of a draft model stands for now into the volume, beside the weights."""
    container = puller(place, settings, "fetch", {"DORMOUSE_REVISION": place.revision})
    volume, mount = weights(claim.name, read_only=False)
    container["volumeMounts"].append(mount)
    container["ports"] = [{"name": "admin", "containerPort": names.PORT_ADMIN, "protocol": "TCP"}]
    inputs = ("draft", place.uri, place.revision, claim.uid, *puller_inputs(place, settings))
    volumes, pod = (*sources.access(place, settings).volumes, volume), placement(profile) | beside(claim)
    return Work(names.COMPONENT_PULL, inputs, container, volumes, pod, LONGEST_SECONDS, claim)


def quantize(model: Model, facts: Facts, method: str, claim: Claim, profile: Profile) -> Work:
    """Make the quantized copy beside the weights, once: in the runtime image, or in the quantizer's by texts."""
    folder, texts = copy_folder(facts.commit, method, model.spec.calibration), calibration.texts(model.spec.calibration)
    config = QuantizeConfig(
        model_dir=f"{names.MODELS_DIR}/{facts.commit}",
        out_dir=f"{names.MODELS_DIR}/{folder}",
        method=method,
        calibration=texts.config if texts else None,
        source=model.spec.source.uri,
        commit=facts.commit,
        remote_code=remotecode.runs(facts, profile),
    )
    volume, mount = weights(claim.name, read_only=False)
    image = (profile.spec.quantizer_image if texts else None) or profile.spec.image
    container: Object = {
        "name": "quantize",
        "image": image,
        "imagePullPolicy": profile.spec.image_pull_policy.value,
        "args": ["quantize"],
        "env": env({"DORMOUSE_QUANTIZE": config.model_dump_json(), "HF_HUB_OFFLINE": "1"}),
        "resources": resources(profile, devices=False),
        "volumeMounts": [tmp_mount(), mount, cache_mount(), *([texts.mount] if texts else [])],
    }
    made = (method, folder) if texts else (method,)
    return Work(
        names.COMPONENT_QUANTIZE,
        (model.spec.source.uri, facts.commit, *made, claim.uid, image),
        container,
        (volume, *([texts.volume] if texts else [])),
        placement(profile) | beside(claim),
        LONGEST_SECONDS,
        claim,
    )


def sweep(
    model: Model, settings: Settings, targets: tuple[str, ...], keep: tuple[str, ...], claim: Claim, profile: Profile
) -> Work:
    """Remove every folder of ours but `keep`. It is named after `targets`, those that are known to be there."""
    values = {"DORMOUSE_KEEP": ",".join(keep)}
    return housekeeping(names.COMPONENT_SWEEP, settings, values, targets, (claim, profile))


def housekeeping(
    stage: str, settings: Settings, values: dict[str, str], inputs: tuple[str, ...], place: tuple[Claim, Profile]
) -> Work:
    """The puller image at work on a volume, with no source: `values` are its environment."""
    claim, profile = place
    volume, mount = weights(claim.name, read_only=False)
    container: Object = {
        "name": "pull",
        "image": settings.puller_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [stage],
        "env": env(values),
        "resources": SMALL,
        "volumeMounts": [tmp_mount(), mount],
    }
    inputs = (claim.uid, settings.puller_image, *inputs)
    return Work(stage, inputs, container, (volume,), placement(profile) | beside(claim), SWEEP_SECONDS, claim)


def job_name(model: Model, work: Work, attempt: int) -> str:
    """The same work and attempt have the same name for ever."""
    again = (str(attempt),) if attempt else ()
    return names.job_name(model.name, work.stage, *work.inputs, *again)


def job(model: Model, work: Work, attempt: int) -> Object:
    """The Job of one attempt. Exit 42 ends it at once; an evicted pod is replaced and not counted."""
    meta = metadata(model, job_name(model, work, attempt), work.stage)
    meta["labels"][LABEL_INPUTS] = work.digest
    meta["annotations"] = {ANNOTATION_ATTEMPT: str(attempt), ANNOTATION_GENERATION: str(model.generation)}
    on_volume = on_claim(work.claim) if work.claim is not None else {}
    meta["labels"] |= on_volume
    if work.claim is not None:
        meta["annotations"][ANNOTATION_ROOM] = room(model, work.claim)
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
                "metadata": {"labels": labels(model, work.stage) | on_volume},
                "spec": pod | {"restartPolicy": "Never", "terminationGracePeriodSeconds": 10},
            },
        },
    }


def puller(source: Place, settings: Settings, command: str, more: dict[str, str]) -> Object:
    """The puller image's container, with all it needs to reach `source`."""
    access = sources.access(source, settings)
    values = {
        "DORMOUSE_SOURCE": source.uri,
        "DORMOUSE_PROGRESS_PORT": str(names.PORT_ADMIN),
        **settings.egress.environment(),
        **access.env,
        **more,
    }
    return {
        "name": "pull",
        "image": settings.puller_image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": [command],
        "env": env(values),
        "resources": SMALL,
        "volumeMounts": [tmp_mount(), *access.mounts],
    }


def puller_inputs(source: Place, settings: Settings) -> tuple[str, ...]:
    """What else a Job of that container depends on."""
    return (settings.puller_image, *sources.access(source, settings).inputs)
