"""The APIs clients speak. Each turns its wire shapes into calls on the gateway and back, and knows nothing else."""

from dormouse_router.caller import Gate
from dormouse_router.dialects.anthropic import mount as anthropic
from dormouse_router.dialects.auth import mount as auth
from dormouse_router.dialects.native import mount as native
from dormouse_router.dialects.ollama import mount as ollama
from dormouse_router.dialects.openai import mount as openai
from dormouse_router.dialects.openai import usage
from dormouse_router.dialects.openai.batches import mount as batches
from dormouse_router.dialects.openai.files import mount as files
from dormouse_router.dialects.openai.responses import mount as responses
from dormouse_router.dialects.replicate import mount as replicate
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.insight import Insight
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def all_dialects(
    gateway: Gateway,
    store: ModelStore,
    settings: Settings,
    keeping: Keeping,
    insight: Insight,
    gate: Gate | None = None,
) -> list[Dialect]:
    """Every dialect this router speaks."""
    return [
        openai.dialect(gateway, store, settings),
        responses.dialect(gateway, settings, keeping),
        *files.dialects(settings, keeping),
        batches.dialect(gateway, settings, keeping),
        auth.dialect(keeping.accounts, settings, gate),
        usage.dialect(keeping.usage, gateway, settings.prices),
        ollama.dialect(gateway, store),
        anthropic.dialect(gateway, settings),
        *replicate.dialects(gateway, settings, keeping),
        *native.dialects(gateway, store, settings, keeping, insight),
    ]
