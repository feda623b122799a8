"""What documents say that clients may ask is what the document of the API has."""

import re

from dormouse_router.openapi.document import document
from tests.test_docs import NOW, TEXTS

ASKED = re.compile(r"\b((?:(?:GET|POST|PUT|PATCH|DELETE|HEAD)`?(?:, | and )?`?)+) (/[A-Za-z0-9_{}./-]*)")
OTHERS = {"docs/runtime-contract.md"}
"""Routes of engines and supervisors, not of the router."""


def asked() -> list[tuple[str, str, str]]:
    return [
        (page, method, path)
        for page in NOW
        if page not in OTHERS
        for methods, path in ASKED.findall(TEXTS[page])
        for method in re.findall("[A-Z]+", methods)
    ]


def fits(path: str, template: str) -> bool:
    """Whatever stands in the place of a parameter is one, and the last one of a name may have slashes."""
    parts, wanted = path.rstrip("/").split("/"), template.rstrip("/").split("/")
    same = all(each == part or part.startswith("{") for each, part in zip(parts, wanted, strict=False))
    return same and (len(parts) == len(wanted) or (len(parts) > len(wanted) and wanted[-1].startswith("{")))


def test_each_route_that_a_page_names_is_one() -> None:
    routes = [(method.upper(), path) for path, methods in document()["paths"].items() for method in methods]
    found = asked()
    assert len(found) > 80
    assert {each for each in found if not any(m == each[1] and fits(each[2], path) for m, path in routes)} == set()
