"""What others are told of a call: the engine that gets it, and the books once it has ended. Pure."""

from collections.abc import Sequence

from dormouse_router.accounting.entries import Ended
from dormouse_router.caller import Caller
from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.dataplane.usage import NOTHING, Tokens, in_pieces
from dormouse_router.gateway import CHAT, COMPLETIONS, Call

GENERATING = (CHAT, COMPLETIONS)
SILENT = 2
"""Pieces of a stream without a token: its first, that says who speaks, and its last."""
Times = tuple[float, float, float, float]
"""Of a call that ended, on the router's own clock: when it came, when its first token did (0.0: never), when it ended;
and how many seconds it was held."""


def head(call: Call, endpoint: Endpoint) -> bytes:
    """The head of the request to the engine. Of the call's own headers only those that it names for engines."""
    lines = (
        f"POST {call.path} HTTP/1.1\r\nhost: {endpoint.host}:{endpoint.port}\r\n"
        f"content-length: {len(call.body)}\r\nx-request-id: {call.request_id}\r\ncontent-type: "
    ).encode()
    lines += call.content_type + b"\r\n"
    for header in call.headers:
        lines += b"%b: %b\r\n" % header
    return lines + b"\r\n"


def took(call: Call, latest: Sequence[bytes], pieces: int) -> Tokens:
    """What a call took, by the latest pieces of its answer. An engine that tells no usage is counted by all `pieces` of
    its stream, since it sends one for each token; that is a guess, and knows nothing of the prompt."""
    told = in_pieces(latest)
    if told is not None:
        return told
    guess = pieces - SILENT if call.path in GENERATING else 0
    return Tokens(completion=guess) if guess > 0 else NOTHING


def ended(call: Call, who: Caller | None, status: int, times: Times, tokens: Tokens) -> Ended:
    """For the books."""
    record, (since, first, now, held) = call.record, times
    fields = (
        now,
        who,
        record.full_name,
        None if record.taken is None else "/".join(record.taken.route),
        call.dialect,
        call.path,
        call.stream,
        call.request_id,
        status,
        now - since,
        first - since if first else None,
        held,
        *tokens,
    )
    return tuple.__new__(Ended, fields)  # half of what Ended(...) costs, which is made for every call
