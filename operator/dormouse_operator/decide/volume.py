"""How large a model's volume must be. Pure."""

from dormouse_api.conditions import Reason
from dormouse_api.names import digest
from dormouse_api.results import Failure
from dormouse_api.runtime import CACHE_BYTES
from dormouse_operator.decide.quantities import gibibytes, to_bytes
from dormouse_operator.observed import Claim, Model

HEADROOM = 1.1
"""File systems keep some of a volume to themselves."""


def volume_bytes(weights: int, copied: int = 0, other: int = 0) -> int:
    """Bytes of volume for weights, the quantized copy of them, `other` folders that must stay, and the cache."""
    return int((weights + copied + other) * HEADROOM) + CACHE_BYTES


def claim_quantity(asked: str | None, needed: int, present: Claim | None) -> str:
    """The size to claim: what the user asks or what is needed, but never less than what is there already."""
    wanted = asked or gibibytes(needed)
    if present is not None and to_bytes(present.requested) >= to_bytes(wanted):
        return present.requested
    return wanted


def room(model: Model, claim: Claim) -> str:
    """The volume as a Job finds it: its size and what lies there. With another one, what did not fit may be tried."""
    volume = model.status.volume
    folders = sorted(volume.folders) if volume is not None and volume.claim_uid == claim.uid else []
    return f"{claim.capacity}/{digest(*folders)}"


def short_of(failure: Failure | None, present: Claim) -> int:
    """Size that the volume would have to have, after a Job found it too small; 0 where none has."""
    if failure is None or failure.reason is not Reason.NO_SPACE or not failure.short_bytes:
        return 0
    return to_bytes(present.capacity) + int(failure.short_bytes * HEADROOM)


def too_small(failure: Failure, claim: Claim, expandable: bool | None, asked: str | None) -> Failure:
    """A Job's NoSpace with the way out that this very volume has."""
    if asked is not None:
        fix = f"raise spec.storage.size beyond {asked}" if expandable is not False else ""
    elif expandable is None:
        return failure
    else:
        fix = "it grows by itself, and the pull goes on then" if expandable else ""
    if claim.grow_failed:
        fix = f"it could not grow ({claim.growing}): mend that"
    cannot = (
        f"class {claim.class_name or 'of the volume'} does not let volumes grow: let it (allowVolumeExpansion: true), "
        f"or delete PersistentVolumeClaim {claim.name} while the model sleeps: the weights are pulled into a larger one"
    )
    first = failure.message.split(": raise spec.storage.size")[0]
    return failure.model_copy(update={"message": f"{first}: {fix or cannot}"})
