"""Which volume a model uses: its own, or one that another model has with the same weights. Pure.

All that is needed stands on the claims: the source as a label, and an annotation for each model with its commit. Owners
are the models that it goes with: the cluster's garbage collector removes it after the last of them.
"""

import json
from collections.abc import Iterable

from dormouse_api import names
from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.model import ReclaimPolicy
from dormouse_operator.observed import Claim, Model, Profile
from dormouse_operator.plan.placement import placement

COMMIT = f"commit.{names.GROUP}/"
"""Followed by a model's name, on a claim: the commit that the model has there."""
RETAIN = f"retain.{names.GROUP}/"
"""Followed by a model's name, on a claim: it stays when the model goes."""
ANNOTATION_ASKED = f"{names.GROUP}/asked"
"""On a claim: size, class and access mode that its first model asked for."""
ANNOTATION_PLACE = f"{names.GROUP}/place"
"""On a claim: hash of where pods of its first model may run."""
MOST = 16
"""Models of one volume."""


def source_label(model: Model) -> str:
    """Hash of the source, as a label's value."""
    return names.digest(model.spec.source.uri, length=16)


def asked(model: Model) -> str:
    """What the spec says of the volume."""
    storage = model.spec.storage
    return f"{storage.size or 'computed'} {storage.class_name or 'default'} {storage.access_mode.value}"


def place(profile: Profile) -> str:
    """Where its pods may run, as a hash."""
    return names.digest(json.dumps(placement(profile), sort_keys=True))


def shares(model: Model) -> bool:
    """Whether it may use the volume of another model, and another its."""
    return model.spec.storage.share and model.spec.storage.existing_claim is None


def retained(claim: Claim, model: Model) -> bool:
    """Whether another model wants it to stay."""
    return any(name.startswith(RETAIN) and name != RETAIN + model.name for name in claim.annotations)


def kept(model: Model) -> bool:
    """Whether the model wants its volume to stay."""
    return model.spec.storage.reclaim_policy is ReclaimPolicy.RETAIN


def pick(model: Model, commit: str, profile: Profile, claims: Iterable[Claim]) -> Claim | None:
    """The volume to share: the oldest that holds, or is to hold, this very commit. None: one of its own."""
    if not shares(model):
        return None
    fitting = [c for c in claims if _serves(c, model, commit, profile)]
    return min(fitting, key=lambda c: (c.created, c.name), default=None)


def _serves(claim: Claim, model: Model, commit: str, profile: Profile) -> bool:
    commits = [value for name, value in claim.annotations.items() if name.startswith(COMMIT)]
    alike = claim.annotations.get(ANNOTATION_ASKED) == asked(model)
    # on one node at a time: where their pods may not meet, each needs its own
    meets = not claim.one_node or claim.annotations.get(ANNOTATION_PLACE) == place(profile)
    usable = is_ours(claim, model) and not claim.deleting and not claim.lost
    return usable and commit in commits and len(commits) < MOST and alike and meets


def is_ours(claim: Claim, model: Model) -> bool:
    """Whether Dormouse made the claim: for this model, or for others with the same source."""
    if claim.labels.get(names.LABEL_MODEL) == model.name:
        return True
    return claim.labels.get(names.LABEL_SOURCE) == source_label(model) and names.LABEL_MODEL in claim.labels


def taken(claim: Claim, model: Model) -> tuple[str, ...]:
    """Models with another source that have the volume under the name which the model's own would have."""
    label = claim.labels.get(names.LABEL_SOURCE, source_label(model))
    others = tuple(name for uid, name in claim.owners if uid != model.uid)
    return others if label != source_label(model) else ()


def named(claim: Claim, uid: str, name: str) -> bool:
    """Whether the claim says that this model uses it, or did once."""
    return COMMIT + name in claim.annotations or any(owner == uid for owner, _ in claim.owners)


def others(claim: Claim, model: Model) -> bool:
    """Whether somebody else may use it: models of the same weights, or anybody where the user made it."""
    if model.spec.storage.existing_claim is not None:
        return True
    return any(uid != model.uid for uid, _ in claim.owners) or any(
        name.startswith(COMMIT) and name != COMMIT + model.name for name in claim.annotations
    )


def members(claim: Claim) -> set[str]:
    """Models that use the volume, or are about to."""
    return {name.removeprefix(COMMIT) for name in claim.annotations if name.startswith(COMMIT)}


def company(model: Model) -> tuple[str, str]:
    """Models of which the same comes may want to write to the same volume."""
    existing = model.spec.storage.existing_claim
    return (model.namespace, f"pvc/{existing}" if existing is not None else model.spec.source.uri)


def unsettled(model: Model) -> bool:
    """Whether something is still to be decided about its volume, or written to it."""
    said = {c.type: c for c in model.status.conditions or ()}
    pulled, copied = said.get(ConditionType.MODEL_PULLED.value), said.get(ConditionType.QUANTIZED.value)
    volume = model.status.volume
    return (
        volume is None
        or bool(volume.removing)
        or model.status.observed_generation != model.generation
        or pulled is None
        or pulled.status != "True"
        or copied is None
        or (copied.status != "True" and copied.reason != Reason.NOT_WANTED.value)
    )
