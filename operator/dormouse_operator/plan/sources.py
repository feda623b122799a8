"""What the inspect and pull pods need to reach the source of a model: environment, mounts, volumes. Pure.

Credentials come as files: the kubelet fetches them, the operator may not read Secrets.
"""

from dataclasses import dataclass, field

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.source import Place
from dormouse_operator.observed import Claim, Model
from dormouse_operator.plan.common import Object
from dormouse_operator.settings import Settings

HUB, STORE, CLAIM = "hf://", "s3://", "pvc://"


@dataclass(frozen=True)
class Access:
    """Of one source. `inputs` names what else a Job's name depends on: with other ones it is worth another try."""

    env: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Object, ...] = ()
    volumes: tuple[Object, ...] = ()
    inputs: tuple[str, ...] = ()


def access(source: Place, settings: Settings) -> Access:
    """The access to `source`."""
    if source.uri.startswith(STORE):
        return _store(source)
    if source.uri.startswith(CLAIM):
        return _claim(source)
    return _hub(source, settings)


def source_claim(source: Place) -> str | None:
    """The PersistentVolumeClaim that a pvc:// source lies on."""
    return source.uri.removeprefix(CLAIM).partition("/")[0] if source.uri.startswith(CLAIM) else None


def keeps_commits(source: Place) -> bool:
    """Whether a commit that was there once stays there."""
    return source.uri.startswith(HUB)


def claim_problem(model: Model, claim: Claim | None) -> Failure | None:
    """Why nothing can be read from the claim of a pvc:// source, and what to do."""
    name = source_claim(model.spec.source)
    if name is None:
        return None
    if claim is None:
        message = (
            f"there is no PersistentVolumeClaim {name} in namespace {model.namespace} to pull from: create it and put "
            "the weights there, or create the InferenceModel in its namespace"
        )
    elif claim.deleting:
        message = f"PersistentVolumeClaim {name}, the source, is being deleted: make it anew and put the weights there"
    elif claim.lost:
        message = f"PersistentVolumeClaim {name}, the source, has lost its volume: restore it, or make the claim anew"
    elif not claim.bound:
        message = (
            f"PersistentVolumeClaim {name}, the source, has no volume yet, so nothing lies there: run a pod that "
            "puts the weights there"
        )
    else:
        return None
    return Failure(reason=Reason.STORAGE_FAILED, message=message)


def _hub(source: Place, settings: Settings) -> Access:
    env = {"HF_ENDPOINT": settings.hub_endpoint} if settings.hub_endpoint else {}
    secret = source.token_secret_ref
    if secret is None:
        return Access(env=env, inputs=(settings.hub_endpoint, ""))
    items = [{"key": secret.key, "path": names.TOKEN_FILE.rsplit("/", 1)[1]}]
    volume = {"name": "token", "secret": {"secretName": secret.name, "items": items, "defaultMode": 0o440}}
    return Access(
        env=env | {"DORMOUSE_TOKEN_FILE": names.TOKEN_FILE},
        mounts=({"name": "token", "mountPath": names.TOKEN_DIR, "readOnly": True},),
        volumes=(volume,),
        inputs=(settings.hub_endpoint, f"{secret.name}/{secret.key}"),
    )


def _store(source: Place) -> Access:
    secret = source.credentials_secret_ref
    if secret is None:
        return Access()
    volume = {"name": "credentials", "secret": {"secretName": secret.name, "defaultMode": 0o440}}
    return Access(
        env={"DORMOUSE_CREDENTIALS_DIR": names.CREDENTIALS_DIR},
        mounts=({"name": "credentials", "mountPath": names.CREDENTIALS_DIR, "readOnly": True},),
        volumes=(volume,),
        inputs=(secret.name,),
    )


def _claim(source: Place) -> Access:
    # read-only at the volume, too: else the kubelet would give every file on it to our group
    volume = {
        "name": "source",
        "persistentVolumeClaim": {"claimName": source_claim(source), "readOnly": True},
    }
    return Access(
        env={"DORMOUSE_SOURCE_DIR": names.SOURCE_DIR},
        mounts=({"name": "source", "mountPath": names.SOURCE_DIR, "readOnly": True},),
        volumes=(volume,),
    )
