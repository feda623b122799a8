"""The APIs clients speak. Each turns its wire shapes into calls on the gateway and back, and knows nothing else."""

from dormouse_router.dialects.anthropic import mount as anthropic
from dormouse_router.dialects.native import mount as native
from dormouse_router.dialects.ollama import mount as ollama
from dormouse_router.dialects.openai import mount as openai
from dormouse_router.dialects.openai.responses import mount as responses
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.insight import Insight
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def all_dialects(
    gateway: Gateway, store: ModelStore, settings: Settings, keeping: Keeping, insight: Insight
) -> list[Dialect]:
    """Every dialect this router speaks."""
    return [
        openai.dialect(gateway, store, settings),
        responses.dialect(gateway, settings, keeping),
        ollama.dialect(gateway, store),
        anthropic.dialect(gateway, settings),
        *native.dialects(gateway, store, settings, keeping, insight),
    ]
