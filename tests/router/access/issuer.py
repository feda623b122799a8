"""A provider of OpenID Connect on loopback: its configuration, its keys, and tokens that it signs."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, RSAKey


class Issuer:
    """`url` is its address once it is started."""

    def __init__(self) -> None:
        self.url = ""
        self.claims_to_be: str | None = None
        self.asked = 0
        self.padding = 0
        """Bytes of nothing after its keys."""
        self.keys: list[Key] = []
        self.rotate()

    def rotate(self, *, elliptic: bool = False) -> None:
        """Sign with a new key from now on; the one before it is still published."""
        said: Any = {"kid": f"key-{len(self.keys)}", "use": "sig"}
        made: Key = ECKey.generate_key("P-256", said) if elliptic else RSAKey.generate_key(2048, said)
        self.keys.append(made)

    def token(self, key: Key | None = None, algorithm: str = "", **claims: Any) -> str:
        """What it signs of somebody called ann, for the client `dormouse`; a claim that is None is left out."""
        key = key or self.keys[-1]
        algorithm = algorithm or ("ES256" if key.key_type == "EC" else "RS256")
        said = {"iss": self.url, "aud": "dormouse", "sub": "ann", "exp": int(time.time()) + 300, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": key.kid}, said, key, algorithms=[algorithm])

    async def configuration(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"issuer": self.claims_to_be or self.url, "jwks_uri": f"{self.url}/keys"})

    async def published(self, request: web.Request) -> web.StreamResponse:
        """Piece by piece, as networks bring what is longer than a packet."""
        found = KeySet(self.keys).as_dict(private=False)
        strange = {"kty": "POST-QUANTUM", "kid": "of-tomorrow"}
        body = json.dumps({"keys": [strange, *found["keys"]]}).encode() + b" " * self.padding
        answer = web.StreamResponse(headers={"content-type": "application/json"})
        await answer.prepare(request)
        half = len(body) // 2
        for piece in (body[:half], body[half:]):
            await answer.write(piece)
            await asyncio.sleep(0.02)  # the time between two packets
        await answer.write_eof()
        return answer


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Issuer]:
    """A started one."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.configuration)
    app.router.add_get("/keys", issuer.published)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    issuer.url = f"http://{host}:{port}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
