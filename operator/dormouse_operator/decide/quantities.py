"""Kubernetes quantities as integers, and bytes as words. Pure arithmetic."""

import math
import re
from decimal import Decimal

_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)")


def amount(text: str) -> Decimal | None:
    """The value of a quantity, or None when `text` is none."""
    match = _QUANTITY.fullmatch(text)
    return Decimal(match[1]) * _SUFFIX[match[2]] if match else None


def to_bytes(text: str) -> int:
    """Whole bytes of a quantity, rounded up; ValueError when it is none."""
    value = amount(text)
    if value is None:
        raise ValueError(f"{text!r} is no quantity: write it as 10Gi or 500M")
    return math.ceil(value)


def gibibytes(count: int) -> str:
    """`count` bytes as a quantity of whole Gi, rounded up."""
    return f"{max(1, -(-count // 2**30))}Gi"


def words(count: float) -> str:
    """`count` bytes for people: 15.2 GB."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
