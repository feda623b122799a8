"""What of batches the application mounts."""

from dormouse_router.dialects.openai.batches import routes
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, settings: Settings, keeping: Keeping) -> Dialect:
    """The routes, which have their errors from OpenAI's dialect."""
    return Dialect("/v1/batches", refuse, {}, routes.routes(keeping.batches, gateway, settings))
