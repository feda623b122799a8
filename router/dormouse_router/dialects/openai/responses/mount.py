"""What of the Responses API the application mounts."""

from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.dialects.openai.responses.background import Background
from dormouse_router.dialects.openai.responses.kept import Keeper
from dormouse_router.dialects.openai.responses.serve import Serving
from dormouse_router.dialects.openai.responses.stored import routes
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, settings: Settings, keeping: Keeping) -> Dialect:
    """The Responses API over `gateway`; what is to be kept is in `keeping`."""
    keeper = Keeper(keeping.responses, settings.response_seconds)
    background = Background(gateway, keeper, settings)
    serving = Serving(gateway, keeper, background, settings)
    posts = {"/v1/responses": serving.create, "/v1/responses/input_tokens": serving.input_tokens}
    return Dialect("/v1/responses", refuse, posts, routes(keeper, background), drain=background.drain)
