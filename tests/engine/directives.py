"""What a prompt tells the engine to do: words after `!`, anywhere in the last user message.

    !say TEXT            answer TEXT                      !tokens 20           answer 20 tokens
    !slow 20 tokens 100ms                                 !stall 3 [after 2]   wait before a token
    !status 500 WORDS    refuse before the first byte     !error after 5 WORDS fail in-band
    !cut after 5         drop the connection              !die after 5         end the process
    !odd                 cut the stream inside characters !think WORDS         reason first
    !tool NAME {JSON}    call a tool; several, several    !echo                answer with the request as it arrived

Pure: no sockets, no clocks.
"""

import json
import re
from dataclasses import dataclass, replace

_MARK = re.compile(r"(?:^|(?<=\s))!(?=[a-z])")
_AFTER = re.compile(r"^after (\d+)\s*(.*)$", re.DOTALL)
_STALL = re.compile(r"^([\d.]+)(?: after (\d+))?$")
_SLOW = re.compile(r"^(?:(\d+) tokens? )?([\d.]+)(ms|s)$")


class UnknownDirectiveError(ValueError):
    """The prompt asks for something the engine cannot play: a typo in a test."""


@dataclass(frozen=True)
class Tool:
    name: str
    arguments: dict[str, object] | None
    """None: made up from the tool's schema."""


@dataclass(frozen=True)
class Directives:
    """Everything a prompt can ask for. `*_after` counts tokens already sent; 0 is before the response's head."""

    plain: str = ""
    """The prompt without its directives."""
    say: str | None = None
    tokens: int | None = None
    pause: float = 0.0
    """Seconds before each token."""
    stall: float = 0.0
    stall_after: int = 0
    status: int | None = None
    message: str = "told to fail"
    error_after: int | None = None
    cut_after: int | None = None
    die_after: int | None = None
    odd: bool = False
    think: str | None = None
    tools: tuple[Tool, ...] = ()
    echo: bool = False


def parse(text: str) -> Directives:
    """The directives in `text`. UnknownDirectiveError on one that is none or is malformed."""
    plain, *parts = _MARK.split(text)
    found = Directives(plain=plain.strip())
    for part in parts:
        word, _, rest = part.strip().partition(" ")
        try:
            found = _apply(found, word, rest.strip())
        except (ValueError, KeyError) as error:
            raise UnknownDirectiveError(f"the scripted engine cannot play '!{part.strip()}'") from error
    return found


def _apply(found: Directives, word: str, rest: str) -> Directives:
    match word:
        case "say":
            return replace(found, say=rest)
        case "tokens":
            return replace(found, tokens=int(rest))
        case "slow":
            count, number, unit = _match(_SLOW, rest)
            pause = float(number) / (1000 if unit == "ms" else 1)
            return replace(found, pause=pause, tokens=int(count) if count else found.tokens)
        case "stall":
            seconds, after = _match(_STALL, rest)
            return replace(found, stall=float(seconds), stall_after=int(after or 0))
        case "status":
            code, _, message = rest.partition(" ")
            return replace(found, status=int(code), message=message or found.message)
        case "error" | "cut" | "die":
            return _fault(found, word, rest)
        case "odd" | "echo":
            return replace(found, odd=True) if word == "odd" else replace(found, echo=True)
        case "think":
            return replace(found, think=rest or "Let me think.")
        case "tool":
            name, _, arguments = rest.partition(" ")
            told = Tool(name, json.loads(arguments) if arguments else None)
            return replace(found, tools=(*found.tools, told))
    raise KeyError(word)


def _fault(found: Directives, word: str, rest: str) -> Directives:
    count, message = _match(_AFTER, rest) if rest else ("0", "")
    after = int(count)
    if word == "error":
        return replace(found, error_after=after, message=message or found.message)
    return replace(found, cut_after=after) if word == "cut" else replace(found, die_after=after)


def _match(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    if (match := pattern.match(text)) is None:
        raise ValueError(text)
    return tuple(group or "" for group in match.groups())
