"""Which models can answer which calls, as far as inspection knows: who cannot is refused before a wake. Pure."""

from enum import Enum

from dormouse_api.model import Task
from dormouse_router.catalog.record import Record
from dormouse_router.request import Refusal


class Ability(Enum):
    """What a call needs, in the words of a refusal."""

    GENERATE = "text generation"
    EMBED = "embeddings"
    SCORE = "scores"
    TRANSCRIBE = "transcription"
    SPEAK = "speech"
    DRAW = "images"
    TOKENIZE = "tokenization"


_NEEDED = {
    Ability.GENERATE: "completion",
    Ability.EMBED: "embedding",
    Ability.SCORE: "embedding",
    Ability.TRANSCRIBE: "audio",
    Ability.SPEAK: "speech",
    Ability.DRAW: "image",
}
_TASKS = {Ability.GENERATE: Task.GENERATE, Ability.EMBED: Task.EMBED, Ability.SCORE: Task.EMBED}
_LISTENERS = "Whisper"


def check(record: Record, ability: Ability, name: str) -> None:
    """Refusal 400 where the model, which the caller calls `name`, is known not to have the ability."""
    if not can(record, ability):
        known = ", ".join(record.status.capabilities or ()) or "nothing of it"
        text = (
            f"The model '{name}' does not support {ability.value}: it can {known}. "
            "GET /v1/models lists what each model can."
        )
        raise Refusal(400, text, code="model_not_supported", param="model")


def can(record: Record, ability: Ability) -> bool:
    """False only where it is known: a model that nobody has inspected yet may be able to do anything."""
    needed = _NEEDED.get(ability)
    if needed is None:
        return True
    task = record.spec.engine.task
    asked = _TASKS.get(ability)
    if task is not Task.AUTO and asked is not None:
        return task is asked
    known = record.status.capabilities
    if not known or needed in known:
        return True
    return ability is Ability.TRANSCRIBE and (record.status.architecture or "").startswith(_LISTENERS)
