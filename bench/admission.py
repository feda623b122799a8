"""What it costs to ask who comes: `python -m bench.admission`. Microseconds of one thread per request, best of seven.

The whole of what a known key pays on the way in and out (`gate.enter`, `leave`), without and with limits of a key, its
user and two teams, and what a router in mode `open` pays.
"""

import timeit

from dormouse_router.access.credential import digest, new_key
from dormouse_router.access.gate import Found, KeyGate
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Caller, Limits, Role, current

CALLS, BEST_OF = 20_000, 7
MANY = Limits(requests=10**9, tokens=10**12, concurrent=10**6)
METERS = {
    "no limits": {},
    "limits of the key": {"key:a": MANY},
    "of key, user and two teams": dict.fromkeys(("key:a", "user:a", "team:a", "team:b"), MANY),
}


class Asked:
    """A request with a key, as the hot path shows it."""

    method, path, peer = "POST", "/v1/chat/completions", "10.0.0.1"

    def __init__(self, key: str) -> None:
        self.header = {b"host": b"router", b"authorization": b"Bearer " + key.encode()}.get


class Knows:
    """A source that knows one caller."""

    def __init__(self, key: str, caller: Caller) -> None:
        self._digest, self._caller = digest(key.encode()), caller

    def at_once(self, looked_up: bytes, now: float) -> Found | None:
        return Found(self._caller, now + 30.0) if looked_up == self._digest else None

    async def find(self, _shown: bytes, _looked_up: bytes, _now: float) -> None:
        return


def measure(limits: dict[str, Limits]) -> float:
    """Microseconds of a request whose caller has these."""
    key = new_key()
    caller = Caller("user:a", "user:a", Role.USER, "key", limits=limits)
    gate, asked = KeyGate(AccessSettings(modes=("keys",)), [Knows(key, caller)]), Asked(key)

    def once() -> None:
        passed = gate.enter(asked)
        if passed is None:
            raise RuntimeError("the key is not known")
        passed.leave()

    return min(timeit.repeat(once, number=CALLS, repeat=BEST_OF)) / CALLS * 1e6


def main() -> None:
    """Print the figures."""
    for name, limits in METERS.items():
        print(f"{name:30} {measure(limits):6.2f} us")
    print(f"{'mode open':30} {min(timeit.repeat(current, number=CALLS, repeat=BEST_OF)) / CALLS * 1e6:6.2f} us")


if __name__ == "__main__":
    main()
