"""What of accounts the application mounts. In mode `open` it says how to have them."""

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from dormouse_router.access.proxies import FORWARDED, Proxies
from dormouse_router.access.stored import StoredKeys
from dormouse_router.access.users import Users
from dormouse_router.accounts import Accounts
from dormouse_router.caller import Caller, Gate, current
from dormouse_router.dialects.auth import objects, users
from dormouse_router.dialects.auth.objects import KeyRequest
from dormouse_router.dialects.auth.users import UserChange, UserRequest, checked, decoded_as
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.dialects.openai.files.receiving import small
from dormouse_router.dialects.openai.files.routes import json
from dormouse_router.request import Dialect, Refusal
from dormouse_router.settings import Settings


def dialect(accounts: Accounts, settings: Settings, gate: Gate | None) -> Dialect:
    """`gate`: what is to forget whoever may less than before."""
    forget = gate.forget if gate is not None else lambda: None
    router = APIRouter(prefix="/v1/auth", tags=["Access"])
    _keys(router, StoredKeys(accounts, settings.access, forget))
    _users(router, Users(accounts, settings.access, forget), settings)
    return Dialect("/v1/auth", refuse, {}, router)


def _keys(router: APIRouter, keys: StoredKeys) -> None:
    @router.get("/me")
    async def me() -> Response:
        """Who the caller is, and what it may."""
        return json(objects.caller(_caller()))

    @router.post("/keys")
    async def make(request: Request) -> Response:
        """Make a key. It is shown in this answer and never again."""
        caller = _caller()
        record, key = await keys.make(decoded_as(KeyRequest, await small(request)).wish(), caller)
        return json(objects.key(record, key))

    @router.get("/keys")
    async def listed(everybody: bool = False) -> Response:
        """The caller's keys, newest first; for an admin everybody's, if asked for."""
        return json(objects.page([objects.key(each) for each in await keys.listed(_caller(), everybody=everybody)]))

    @router.delete("/keys/{key_id}")
    async def revoke(key_id: str) -> Response:
        """Revoke a key of the caller's; an admin anybody's."""
        if not await keys.revoke(key_id, _caller()):
            raise Refusal(404, f"No such API key: {key_id[:80]}. GET /v1/auth/keys lists yours.", param="key_id")
        return json({"id": key_id, "object": "auth.key.deleted", "deleted": True})


def _users(router: APIRouter, people: Users, settings: Settings) -> None:
    proxies = Proxies(settings.access.proxies)

    @router.post("/register")
    async def register(request: Request) -> Response:
        """Make a user for oneself."""
        _guarded(settings)
        sent = users.credentials(await small(request), request.headers.get("content-type", ""))
        checked(sent.username, sent.password)
        return json(users.user(await people.register(sent.username, sent.password, _origin(proxies, request))))

    @router.post("/token")
    async def token(request: Request) -> Response:
        """A token for a password."""
        _guarded(settings)
        sent = users.credentials(await small(request), request.headers.get("content-type", ""))
        checked(sent.username, None)
        return json(users.token(*await people.sign_in(sent.username, sent.password, _origin(proxies, request))))

    @router.get("/users")
    async def listed() -> Response:
        """Everybody with a password."""
        _caller()
        return json(objects.page([users.user(each) for each in await people.listed()]))

    @router.post("/users")
    async def add(request: Request) -> Response:
        """Make a user."""
        _caller()
        sent = decoded_as(UserRequest, await small(request))
        checked(sent.username, sent.password)
        return json(users.user(await people.add(sent.username, sent.password, sent.grants())))

    @router.patch("/users/{name}")
    async def change(request: Request, name: str) -> Response:
        """Another password, which ends the user's tokens, or other rights."""
        _caller()
        sent = decoded_as(UserChange, await small(request))
        checked(name, sent.password)
        changed = await people.change(name, sent.password, None if sent.grants is None else sent.grants.grants())
        return json(users.user(changed))

    @router.delete("/users/{name}")
    async def drop(name: str) -> Response:
        """The user, and all its keys."""
        _caller()
        await people.drop(name)
        return json({"id": f"user:{name}", "object": "auth.user.deleted", "deleted": True})

    @router.post("/signing-keys")
    async def rotate() -> Response:
        """Sign tokens with a new key from now on; those that were signed before stay good until they expire."""
        _caller()
        return json(users.signing_key(await people.rotate()))


def _origin(proxies: Proxies, request: Request) -> str:
    peer = request.client.host if request.client is not None else ""
    forwarded = request.headers.getlist(FORWARDED.decode())
    return proxies.origin(peer, forwarded[-1].encode("latin-1") if forwarded else None)


def _guarded(settings: Settings) -> None:
    if not settings.access.guarded:
        raise _no_account()


def _caller() -> Caller:
    found = current()
    if found is None or found.kind == "anonymous":
        raise _no_account()
    return found


def _no_account() -> Refusal:
    return Refusal(
        403,
        "There are no accounts without a key: this router is open, or you sent none. Set router.access.modes of the "
        "chart to [keys] and mount a first key (docs/access.md).",
        code="no_account",
    )
