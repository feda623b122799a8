"""What the lines of a batch may ask for. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route: the field without which a line cannot be answered, and how a refusal calls that route."""

    path: str
    needs: str
    title: str


OPENAI = tuple(
    Endpoint(*row)
    for row in (
        ("/v1/chat/completions", "messages", "Chat Completions"),
        ("/v1/completions", "prompt", "Completions"),
        ("/v1/embeddings", "input", "Embeddings"),
        ("/v1/responses", "input", "Responses"),
        ("/v1/images/generations", "prompt", "Images"),
    )
)
SCORES = (Endpoint("/v1/score", "text_1", "Score"), Endpoint("/v1/rerank", "query", "Rerank"))
"""Beyond OpenAI's: where the router is set to take them."""
INPUTS = "/v1/embeddings"
"""The route whose lines may hold many inputs each."""


def known(scores: bool) -> dict[str, Endpoint]:
    """Endpoints by path."""
    return {endpoint.path: endpoint for endpoint in (*OPENAI, *(SCORES if scores else ()))}
