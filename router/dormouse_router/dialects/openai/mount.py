"""OpenAI's routes: what `app.py` mounts."""

from dormouse_router.dialects.openai import calls, forms, more
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.dialects.openai.models.routes import routes
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, store: ModelStore, settings: Settings) -> Dialect:
    """The dialect that also words what belongs to no other."""
    endpoints = calls.endpoints() | more.endpoints()
    starts = {path: calls.Passed(gateway, settings, endpoint) for path, endpoint in endpoints.items()}
    posted = {endpoint.path: forms.Posted(gateway, settings, endpoint) for endpoint in forms.ENDPOINTS}
    return Dialect("", refuse, {}, routes(gateway, store), starts, forms=posted)
