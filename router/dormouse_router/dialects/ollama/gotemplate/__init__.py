"""The part of Go's text/template that Ollama's templates are written in: parsed, checked and rendered. Pure.

Owns the language, and nothing of what Ollama puts into a template: that is `prompting.py`'s. Missing are functions that
make no text for a model (html, js, urlquery, call), complex numbers, and whatever of a Go value is not plain data.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from dormouse_router.dialects.ollama.gotemplate.execute import Run
from dormouse_router.dialects.ollama.gotemplate.functions import NAMES
from dormouse_router.dialects.ollama.gotemplate.lexer import tokens
from dormouse_router.dialects.ollama.gotemplate.nodes import Definition, TemplateError, Value, error_at
from dormouse_router.dialects.ollama.gotemplate.parser import Parser
from dormouse_router.dialects.ollama.gotemplate.walk import fields

MAX_SOURCE = 16_384
"""Characters of a template."""

__all__ = ["MAX_SOURCE", "Template", "TemplateError", "Value", "parse", "rendered"]


@dataclass(frozen=True)
class Template:
    """A template that was read."""

    source: str
    main: Definition
    definitions: dict[str, Definition]

    def fields(self) -> Iterator[str]:
        """The names of all fields it speaks of, wherever they stand."""
        for definition in (self.main, *self.definitions.values()):
            yield from fields(definition.body)


def parse(source: str) -> Template:
    """TemplateError with line, column and the fix where it is none, or too long."""
    if len(source) > MAX_SOURCE:
        raise error_at(source, MAX_SOURCE, f"a template may have {MAX_SOURCE} characters: shorten it")
    parser = Parser(source, tokens(source), NAMES)
    return Template(source, parser.parse(), parser.definitions)


def rendered(template: Template, today: date, *steps: tuple[Definition, Value]) -> str:
    """Each definition shown for its data, one after another, within one set of bounds. TemplateError."""
    run = Run(template.source, template.definitions, today)
    try:
        for definition, data in steps:
            run.execute(definition, data)
    except RecursionError as error:
        raise error_at(template.source, 0, "the data is nested too deep to be shown: leave out the deepest") from error
    return "".join(run.out)
