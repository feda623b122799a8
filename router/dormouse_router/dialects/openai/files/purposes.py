"""What a file may be for, how large it may then be, what it must be called and how long it lives. Pure."""

from collections.abc import Mapping

from dormouse_api.text import plain
from dormouse_router.filing import Draft
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

BATCH = "batch"
OURS_TO_GIVE = ("assistants_output", "batch_output", "fine-tune-results")
CLIENTS = ("assistants", BATCH, "fine-tune", "vision", "user_data", "evals")
"""What clients may upload for."""
LEAST_LIFE, LONGEST_LIFE = 3600, 30 * 86400
BATCH_LIFE = float(LONGEST_LIFE)
MOST_NAME = 255
NAMELESS = "upload"
"""What clients call bytes that came from no file, those of Parasail's client among them."""
_ANCHOR, _SECONDS = "expires_after[anchor]", "expires_after[seconds]"


def checked(purpose: str | None) -> str:
    """Refusal 400 where it is missing, or none that clients may upload for."""
    if purpose is None:
        raise Refusal(400, "'purpose' is a required property", code="missing_required_parameter", param="purpose")
    if purpose not in CLIENTS:
        text = f"'{plain(purpose, 80)}' is not one of {list(CLIENTS)} - 'purpose'"
        raise Refusal(400, text, code="invalid_value", param="purpose")
    return purpose


def most(purpose: str | None, settings: Settings, general: int) -> int:
    """Bytes that such a file may have; None: what is not known yet."""
    return min(general, settings.batch_file_bytes) if purpose == BATCH else general


def named(filename: str, purpose: str) -> str:
    """The file's name made plain: one line without folders. Refusal 400 where the purpose takes none such."""
    name = plain(filename.replace("\\", "/").rpartition("/")[2], MOST_NAME)
    if purpose == BATCH and name != NAMELESS and not name.lower().endswith(".jsonl"):
        raise Refusal(400, "Invalid file format for Batch API. Must be .jsonl")
    return name if name.strip(".") else NAMELESS


def life(fields: Mapping[str, str], purpose: str) -> float | None:
    """Seconds that it lives, of a form's fields. Refusal 400."""
    anchor, seconds = fields.get(_ANCHOR), fields.get(_SECONDS)
    if anchor is None and seconds is None:
        return BATCH_LIFE if purpose == BATCH else None
    number = int(seconds) if seconds is not None and seconds.isascii() and seconds.isdigit() else None
    return lasting(anchor, number)


def lasting(anchor: str | None, seconds: int | None) -> float:
    """What was asked with `expires_after`. Refusal 400."""
    if anchor != "created_at":
        text = "Invalid value for 'expires_after[anchor]'. Supported values are: 'created_at'."
        raise Refusal(400, text, code="invalid_value", param=_ANCHOR)
    if seconds is None or not LEAST_LIFE <= seconds <= LONGEST_LIFE:
        text = f"Invalid value for '{_SECONDS}': it must be a number between {LEAST_LIFE} and {LONGEST_LIFE}."
        raise Refusal(400, text, code="invalid_value", param=_SECONDS)
    return float(seconds)


def draft(owner: str, filename: str, fields: Mapping[str, str]) -> Draft:
    """The file that a whole form is about. Refusal 400."""
    purpose = checked(fields.get("purpose"))
    return Draft(owner, named(filename, purpose), purpose, life(fields, purpose))
