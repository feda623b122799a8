"""Which parsers read tool calls and reasoning: the spec's word, else what inspection found of the family. Pure."""

from dormouse_api.model import EngineSpec

NONE = "none"


def chosen(asked: str | None, found: str | None) -> str | None:
    """The parser's name; None where there is none, or none is wanted."""
    name = asked if asked is not None else found
    return None if name == NONE else name


def capabilities(known: tuple[str, ...], engine: EngineSpec) -> tuple[str, ...]:
    """What the weights can, with what the spec's parsers add and take away."""
    asked = {"tools": engine.tool_call_parser, "thinking": engine.reasoning_parser}
    off = {name for name, parser in asked.items() if parser == NONE}
    more = (name for name, parser in asked.items() if parser not in (None, NONE) and name not in known)
    return (*(name for name in known if name not in off), *more)
