"""Reads a PNG strictly, with the standard library: what is drawn must be a picture that anybody can open."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 6: 4}


def opened(picture: bytes) -> tuple[int, int, bytes]:
    """(width, height, filtered rows) of an 8-bit RGB picture. AssertionError where it is none, or not whole."""
    assert picture.startswith(SIGNATURE)
    at, kinds, data, head = len(SIGNATURE), list[bytes](), b"", b""
    while at < len(picture):
        length, kind = struct.unpack(">I4s", picture[at : at + 8])
        chunk = picture[at + 8 : at + 8 + length]
        (check,) = struct.unpack(">I", picture[at + 8 + length : at + 12 + length])
        assert check == zlib.crc32(kind + chunk), f"the chunk {kind!r} is damaged"
        kinds.append(kind)
        head = chunk if kind == b"IHDR" else head
        data += chunk if kind == b"IDAT" else b""
        at += 12 + length
    assert (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")
    width, height, depth, color = struct.unpack(">IIBB", head[:10])
    assert depth == 8
    rows = zlib.decompress(data)
    assert len(rows) == height * (1 + width * CHANNELS[color])
    return width, height, rows
