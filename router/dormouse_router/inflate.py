"""Request bodies that come compressed: gzip only, inflated once and within bounds. Pure.

A bomb costs at most the inflating of `MOST` bytes, some 20 ms: less than to read and check a plain body of that size.
"""

import zlib

from dormouse_router.request import Refusal

MOST = 8 * 1024 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def inflated(body: bytes, coding: bytes, limit: int) -> bytes:
    """`body` without its Content-Encoding. Refusal 415 for another than gzip, 413 beyond `limit` or MOST, 400."""
    if coding != b"gzip":
        text = "Of compressed request bodies only gzip is taken: send Content-Encoding: gzip, or the body as it is."
        raise Refusal(415, text)
    limit = min(limit, MOST)
    stream = zlib.decompressobj(_GZIP)
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refusal(400, f"The body is not gzip, as its Content-Encoding says: {error}.") from None
    if len(found) > limit:
        raise Refusal(413, f"A compressed body may have at most {limit} bytes inflated: send it as it is.")
    if not stream.eof or stream.unused_data:
        raise Refusal(400, "The gzip of the body is cut short, or something follows it: send it whole and alone.")
    return found
