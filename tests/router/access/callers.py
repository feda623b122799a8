"""Everybody who may come in, by their keys, and a source that knows them."""

from collections.abc import Mapping

from dormouse_router.access.credential import digest
from dormouse_router.access.gate import Found
from dormouse_router.caller import Caller, Limits, Role

KEYS = {
    "anonymous": "",
    "user": "dm-user-000000000000000000000000",
    "other user": "dm-other-00000000000000000000000",
    "team mate": "dm-mate-000000000000000000000000",
    "operator": "dm-operator-00000000000000000000",
    "admin": "dm-admin-00000000000000000000000",
}


def _caller(name: str, role: Role, *teams: str) -> Caller:
    who = f"user:{name}"
    return Caller(who, who, role, "key", frozenset(teams), f"key:{name}", limits={f"key:{name}": Limits()})


CALLERS = {
    KEYS["user"]: _caller("alice", Role.USER, "red"),
    KEYS["other user"]: _caller("oscar", Role.USER, "blue"),
    KEYS["team mate"]: _caller("maya", Role.USER, "red"),
    KEYS["operator"]: _caller("olga", Role.OPERATOR),
    KEYS["admin"]: _caller("ada", Role.ADMIN),
}


class Known:
    """`gate.Source` of `callers`, by their keys; `slow` ones are not known at once."""

    def __init__(self, callers: Mapping[str, Caller], slow: Mapping[str, Caller] | None = None) -> None:
        self._callers = {digest(key.encode()): caller for key, caller in callers.items()}
        self._slow = {digest(key.encode()): caller for key, caller in (slow or {}).items()}
        self.asked = 0

    def change(self, key: str, caller: Caller) -> None:
        """Whoever comes with this key is this one from now on."""
        self._callers[digest(key.encode())] = caller

    def at_once(self, looked_up: bytes, now: float) -> Found | None:
        caller = self._callers.get(looked_up)
        return None if caller is None else Found(caller, now + 30.0)

    async def find(self, _shown: bytes, looked_up: bytes, now: float) -> Found | None:
        self.asked += 1
        caller = self._slow.get(looked_up)
        return None if caller is None else Found(caller, now + 30.0)
