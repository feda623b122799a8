"""What every child has in common: labels, owner, the restricted pod. Knows no particular child."""

from typing import Any

from dormouse_api import names
from dormouse_operator.observed import Model

Object = dict[str, Any]

TMP = {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}


def labels(model: Model, component: str) -> dict[str, str]:
    """Labels of a child. The user's own labels are never copied: they could meet somebody's selector."""
    return {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_MODEL: model.name,
        names.LABEL_COMPONENT: component,
    }


def owner(model: Model) -> Object:
    """The owner reference that lets the cluster's garbage collector remove a child with its model."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.MODEL_KIND,
        "name": model.name,
        "uid": model.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(model: Model, name: str, component: str, *, owned: bool = True) -> Object:
    """Metadata of a child."""
    meta: Object = {"name": name, "namespace": model.namespace, "labels": labels(model, component)}
    if owned:
        meta["ownerReferences"] = [owner(model)]
    return meta


def pod_spec(container: Object, volumes: list[Object]) -> Object:
    """A pod under the restricted Pod Security Standard, without any right on the API server."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.RUN_AS_USER,
            "runAsGroup": names.RUN_AS_USER,
            "fsGroup": names.RUN_AS_USER,
            # a volume of many gigabytes must not be walked through at every start
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                **container,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [TMP, *volumes],
    }


def env(values: dict[str, str]) -> list[Object]:
    """Environment in a fixed order; HOME is the one writable folder.

    The kubelet replaces `$(NAME)` in values; doubled, a dollar is one, and what a user wrote arrives as it was written.
    """
    whole = {"HOME": "/tmp"} | values  # noqa: S108
    return [{"name": name, "value": value.replace("$", "$$")} for name, value in sorted(whole.items())]


def weights(claim: str, *, read_only: bool) -> tuple[Object, Object]:
    """(volume, mount of the models folder) of the weights. The claim itself stays writable: the cache is on it."""
    volume = {"name": "weights", "persistentVolumeClaim": {"claimName": claim}}
    mount: Object = {"name": "weights", "mountPath": names.MODELS_DIR, "subPath": names.SUBPATH_MODELS}
    return volume, mount | ({"readOnly": True} if read_only else {})


def cache_mount() -> Object:
    """The compile cache, beside the weights on the same volume."""
    return {"name": "weights", "mountPath": names.CACHE_DIR, "subPath": names.SUBPATH_CACHE}


def tmp_mount() -> Object:
    return {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a folder of the pod
