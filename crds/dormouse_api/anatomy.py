"""What a model's memory is made of: bytes of weights, and what its attention keeps per token.

Owns shapes and bounds. `inspect` fills it in from config.json and the heads of the weights; the operator's
`decide/fit.py` does the arithmetic. Part of the inspect Job's result and of the status alike.
"""

from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject

MOST = 2**53
"""More than any model has of anything; integers up to here survive every JSON reader."""
Count = Annotated[int, Field(ge=0, le=MOST)]
Bytes = Annotated[dict[Annotated[str, Field(max_length=32)], Count], Field(max_length=16)]


class CacheLayers(ApiObject):
    """Layers whose attention keeps the same amount per token."""

    layers: Annotated[int, Field(ge=1, le=2**31)]
    heads: Annotated[int, Field(ge=1, le=2**31)]
    """Key-value heads; several devices share them out. A latent (MLA) is one that every device keeps whole."""
    width: Annotated[int, Field(ge=1, le=2**31)]
    """Numbers kept per token and head: key and value together, or the latent."""
    window: Annotated[int, Field(ge=1, le=MOST)] | None = None
    """Tokens that are kept at most (sliding window, chunked attention). Unset: all of the context."""


class Anatomy(ApiObject):
    """What inspection learnt for the arithmetic of `Preflight`; what it could not learn is unset."""

    tensor_bytes: Bytes | None = None
    """Bytes of the weights by the dtype they are stored in (BF16, F32, U8, ...)."""
    copy_bytes: Bytes | None = None
    """Bytes a copy would have, by method (int4, int8, fp8). Empty: no copy can be made of these weights."""
    cache: Annotated[list[CacheLayers], Field(max_length=8)] | None = None
    """What the KV cache holds per token. Unset: unknown. Empty: nothing grows with the context."""
    attention_heads: Count | None = None
    hidden_size: Count | None = None
    intermediate_size: Count | None = None
    """Width between the two matrices of a token's feed-forward: of the experts that are at work for one token."""
    vocabulary: Count | None = None
