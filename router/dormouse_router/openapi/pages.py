"""Where the document is served, and the page that shows it: Swagger UI out of the router's own image.

Nothing here comes from another host, so the page works in a cluster without a way out. The page's files are those that
the package `fastapi_swagger` carries, which follows Swagger UI's releases.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from dormouse_router.caller import current
from dormouse_router.openapi import headers
from dormouse_router.openapi.parts import JSON, OBJECT, STRING, Answer, Family, Operation, path_parameter
from dormouse_router.request import Refusal

FAMILY = Family("Documentation", "This document, and the page that shows it.", "OpenAIError")
_BUNDLE, _STYLE, _ICON, _START = "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png", "start.js"
_KINDS = {_BUNDLE: "text/javascript", _STYLE: "text/css", _ICON: "image/png", _START: "text/javascript"}
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Dormouse: the API</title>
<link rel="stylesheet" href="docs/{_STYLE}">
<link rel="icon" type="image/png" href="docs/{_ICON}">
</head>
<body>
<div id="page"></div>
<script src="docs/{_BUNDLE}"></script>
<script src="docs/{_START}"></script>
</body>
</html>
"""
"""Its references are relative: the router may be reached below a path of its own."""
_STARTING = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  filter: true,
  validatorUrl: null,
});
"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_KEPT = {**_SAFE, "cache-control": "public, max-age=86400"}


def router() -> APIRouter:
    """GET /openapi.json, /docs and the page's files."""
    made = APIRouter()
    made.add_api_route("/openapi.json", _document, methods=["GET"], response_model=None)
    made.add_api_route("/docs", _page, methods=["GET"], response_model=None)
    made.add_api_route("/docs/{file}", _file, methods=["GET"], response_model=None)
    return made


async def _document() -> Response:
    # imported when somebody asks: a router that nobody asks does not keep the document
    from dormouse_router.openapi.document import encoded

    # whoever is asked who they are has a caller here, if only nobody's
    return Response(encoded(current() is not None), media_type=JSON)


async def _page() -> Response:
    return Response(_PAGE, media_type="text/html", headers=_SAFE)


async def _file(file: str) -> Response:
    if file not in _KINDS:
        raise Refusal(404, f"The page has no file '{file}': open /docs.")
    if file == _START:
        return Response(_STARTING, media_type=_KINDS[file], headers=_SAFE)
    path = Path(str(files("fastapi_swagger").joinpath("resources", file)))
    return FileResponse(path, media_type=_KINDS[file], headers=_KEPT)


OPERATIONS: tuple[Operation, ...] = (
    Operation(FAMILY, "get", "/openapi.json", "This document", {200: Answer("It.", {JSON: OBJECT})}, headers.READ),
    Operation(
        FAMILY, "get", "/docs", "This document as a page", {200: Answer("It.", {"text/html": STRING})}, headers.READ
    ),
    Operation(
        FAMILY,
        "get",
        "/docs/{file}",
        "A file of the page",
        {200: Answer("It.", dict.fromkeys(("text/javascript", "text/css", "image/png"), STRING))},
        (*headers.READ, 404),
        own=(path_parameter("file", "Its name.", {"enum": sorted(_KINDS)}),),
    ),
)
