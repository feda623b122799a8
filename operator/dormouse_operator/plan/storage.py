"""The PersistentVolumeClaim of a model's weights."""

from dormouse_api import names
from dormouse_api.model import ReclaimPolicy
from dormouse_operator.decide.volume import claim_quantity
from dormouse_operator.observed import Claim, Model
from dormouse_operator.plan.common import Object, metadata


def claim_name(model: Model) -> str:
    """The user's own claim, or the one we make."""
    return model.spec.storage.existing_claim or names.weights_name(model.name)


def claim(model: Model, needed_bytes: int, present: Claim | None) -> Object:
    """The claim's intent. It never shrinks: Kubernetes refuses that, and the weights may already be there.

    With reclaimPolicy Retain it has no owner, so it outlives the model and a model of the same name finds it again.
    """
    storage = model.spec.storage
    spec: Object = {
        "accessModes": [storage.access_mode.value],
        "resources": {"requests": {"storage": claim_quantity(storage.size, needed_bytes, present)}},
    }
    if storage.class_name:
        spec["storageClassName"] = storage.class_name
    owned = storage.reclaim_policy is ReclaimPolicy.DELETE
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(model, names.weights_name(model.name), names.COMPONENT_WEIGHTS, owned=owned),
        "spec": spec,
    }
