"""Values of the environment, read with errors that name the variable and the fix. Pure."""

import re
from collections.abc import Mapping
from typing import TypeVar

N = TypeVar("N", int, float)


def place(env: Mapping[str, str], name: str, default: str, forms: tuple[str, ...]) -> str:
    """One of the words among `forms`, or a URL that goes on from one of the others. It may hold a password."""
    value = env.get(name, "") or default
    begins = tuple(form for form in forms if form.endswith("/"))
    if value in forms[: -len(begins)] or (value.startswith(begins) and value not in forms):
        return value
    raise ValueError(f"{name} must be one of {', '.join(forms)} with what belongs behind it")


def number(env: Mapping[str, str], name: str, default: N, kind: type[N]) -> N:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number: set it to one, or unset it for {default}") from None
    if value < 0:
        raise ValueError(f"{name}={text} is negative: set it to zero or more")
    return value


def size(env: Mapping[str, str], name: str, default: int) -> int:
    """Bytes, of a quantity as Kubernetes writes it."""
    text = env.get(name, "")
    if not text:
        return default
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)(i?)", text)
    if found is None:
        raise ValueError(f"{name}={text!r} is no size: set it to one such as 1Gi")
    step = 1024 if found[3] else 1000
    return int(float(found[1]) * step ** " kMGT".index(found[2] or " "))


def words(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())


def choice(env: Mapping[str, str], name: str, default: bool, yes: str, no: str) -> bool:
    text = env.get(name, "")
    if text not in ("", yes, no):
        raise ValueError(f"{name}={text!r} must be {yes} or {no}")
    return default if not text else text == yes
