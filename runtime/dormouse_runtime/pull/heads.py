"""The heads of safetensors files: name, dtype and shape of each tensor, without the weights. Knows no source."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.selection import RemoteFile
from dormouse_runtime.pull.trust import are_sides, is_size
from dormouse_runtime.quantize.layout import Tensor

FIRST = 100_000  # bytes asked for at once: nearly every head fits
LONGEST = 25_000_000  # bytes of a head that is still believed
LENGTH = struct.Struct("<Q")


def tensors(file: RemoteFile, first: Callable[[int], bytes]) -> list[Tensor]:
    """The file's tensors; `first(n)` gives its first n bytes. Unsupported, or Corrupt where its end is missing."""
    start = first(FIRST)
    if len(start) < LENGTH.size:
        raise _foreign(file)
    (length,) = LENGTH.unpack_from(start)
    if length > LONGEST:
        raise _foreign(file)
    whole = LENGTH.size + length
    text = (start if len(start) >= whole else first(whole))[LENGTH.size : whole]
    try:
        head = json.loads(text)
        entries = {name: entry for name, entry in head.items() if name != "__metadata__"}
        ends = [entry["data_offsets"][1] for entry in entries.values()]
        found = [Tensor(name, str(entry["dtype"]), tuple(entry["shape"])) for name, entry in entries.items()]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _foreign(file) from error
    if not all(map(is_size, ends)) or not all(are_sides(tensor.shape) for tensor in found):
        raise _foreign(file)
    end = max(ends, default=0)
    if file.size < whole + end:
        raise PullError(
            Reason.CORRUPT,
            f"{file.path} has {file.size} bytes and its own head says {whole + end}: it was not put there whole; "
            "put it there again",
        )
    return found


def _foreign(file: RemoteFile) -> PullError:
    return PullError(Reason.UNSUPPORTED, f"{file.path} is no safetensors file: choose another revision")
