"""What of Anthropic's API the application mounts."""

from fastapi import APIRouter

from dormouse_router.dialects.anthropic.errors import refuse
from dormouse_router.dialects.anthropic.serve import Serving
from dormouse_router.gateway import Gateway
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, settings: Settings) -> Dialect:
    """Anthropic's API over `gateway`."""
    serving = Serving(gateway, settings)
    posts = {"/v1/messages": serving.messages, "/v1/messages/count_tokens": serving.count_tokens}
    return Dialect(prefix="/v1/messages", refuse=refuse, posts=posts, router=APIRouter())
