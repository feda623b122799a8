"""The PersistentVolumeClaim of a model's weights.

Each model that uses a claim applies it under its own field manager: labels and size are theirs together, the owner
reference and the annotations of its name are its own, and go when it stops wanting them.
"""

from dormouse_api import names
from dormouse_operator.decide.drift import contained
from dormouse_operator.decide.quantities import to_bytes
from dormouse_operator.decide.volume import claim_quantity
from dormouse_operator.observed import Claim, Model, Observed, Profile
from dormouse_operator.plan.common import Object, labels, owner
from dormouse_operator.plan.sharing import (
    ANNOTATION_ASKED,
    ANNOTATION_PLACE,
    COMMIT,
    RETAIN,
    asked,
    kept,
    place,
    retained,
    source_label,
)


def claim_name(model: Model) -> str:
    """The user's own claim, else the one that it has used so far, else the one we would make."""
    volume, existing = model.status.volume, model.spec.storage.existing_claim
    known = volume.claim if volume is not None else None
    return existing or known or names.weights_name(model.name)


def manager(model: str) -> str:
    """Field manager of a model's part of a claim."""
    return f"{names.FIELD_MANAGER}-{model}"


def claim(model: Model, profile: Profile, commit: str, needed_bytes: int, present: Claim | None) -> Object:
    """The model's intent. It never shrinks: Kubernetes refuses that, and the weights may already be there.

    With reclaimPolicy Retain, of any model that uses it, it has no owner, so it outlives them and is found again.
    """
    storage = model.spec.storage
    meta: Object = {
        "name": present.name if present is not None else names.weights_name(model.name),
        "namespace": model.namespace,
        "labels": labels(model, names.COMPONENT_WEIGHTS) | {names.LABEL_SOURCE: source_label(model)},
        "annotations": {COMMIT + model.name: commit},
    }
    quantity = claim_quantity(storage.size, needed_bytes, present)
    spec: Object = {"resources": {"requests": {"storage": quantity}}}
    first = present is None or present.labels.get(names.LABEL_MODEL) == model.name
    if first:
        meta["annotations"] |= {ANNOTATION_ASKED: asked(model), ANNOTATION_PLACE: place(profile)}
    elif present is not None:
        meta["labels"][names.LABEL_MODEL] = present.labels.get(names.LABEL_MODEL, model.name)
    if kept(model):
        meta["annotations"][RETAIN + model.name] = "true"
    elif present is None or not retained(present, model):
        meta["ownerReferences"] = [{k: v for k, v in owner(model).items() if k != "controller"}]
    # what cannot change any more is said as it is: to ask for it again would only be refused
    spec["accessModes"] = list(present.access_modes) if present is not None else [storage.access_mode.value]
    class_name = present.class_name if present is not None else storage.class_name
    if class_name:
        spec["storageClassName"] = class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}


def settled(intent: Object, o: Observed) -> bool:
    """Whether the claim is as the model wants it; what other models say there is theirs."""
    meta, have = intent["metadata"], o.claim
    raw = o.raw.get(("PersistentVolumeClaim", meta["name"]))
    if have is None or raw is None:
        return False
    owned = any(uid == o.model.uid for uid, _ in have.owners)
    return (
        not have.deleting
        and owned == ("ownerReferences" in meta)
        and (RETAIN + o.model.name in have.annotations) == kept(o.model)
        and contained(meta["labels"], have.labels)
        and contained(meta["annotations"], have.annotations)
        and to_bytes(intent["spec"]["resources"]["requests"]["storage"]) <= to_bytes(have.requested)
    )
