"""What of files and uploads the application mounts."""

from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.dialects.openai.files import routes, uploads
from dormouse_router.dialects.openai.files.receiving import Arrivals
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialects(settings: Settings, keeping: Keeping) -> list[Dialect]:
    """The routes of both, which have their errors from OpenAI's dialect."""
    arrivals = Arrivals()
    return [
        Dialect("/v1/files", refuse, {}, routes.routes(keeping.files, settings, arrivals)),
        Dialect("/v1/uploads", refuse, {}, uploads.routes(keeping.uploads, keeping.files, settings, arrivals)),
    ]
