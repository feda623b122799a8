"""A real Prometheus as a process, with the rules of the chart made quick, and its HTTP API."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import yaml

from dev import ports, prometheus
from dev.monitoring.alerts import STUCK_SECONDS
from dormouse_api import metrics as m

Objects = list[dict[str, Any]]
SCRAPES = "1s"
"""Between two scrapes and two evaluations: what takes minutes in an installation takes seconds here."""
READY_SECONDS = 60.0
ASK_SECONDS = 0.5
QUICKER = {
    "[10m]": "[20s]",
    "offset 10m": "offset 20s",
    f"max({m.QUEUE_OLDEST_SECONDS}) > {STUCK_SECONDS}": f"max({m.QUEUE_OLDEST_SECONDS}) > 2",
}
"""What of expressions is shortened. Windows of rates are not: they look back, and wait for nothing."""


class Prometheus:
    """The HTTP API of one that runs."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=20, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, path: str, **query: Any) -> Any:
        """The data of an answer; AssertionError with Prometheus' words for an error."""
        answer = (await self._http.get(path, params=query)).json()
        assert answer["status"] == "success", f"{query}: {answer.get('error')}"
        return answer["data"]

    async def now(self, expr: str) -> list[dict[str, Any]]:
        return list((await self.ask("/query", query=expr))["result"])

    async def over(self, expr: str, seconds: float) -> list[dict[str, Any]]:
        """A range query, up to now, as a panel asks it."""
        end = time.time()
        asked = await self.ask("/query_range", query=expr, start=end - seconds, end=end, step=2)
        return list(asked["result"])

    async def values(self, label: str, series: str) -> list[str]:
        return list(await self.ask(f"/label/{label}/values", **{"match[]": series}))

    async def firing(self, name: str, **labels: str) -> bool:
        """Whether an alert with these labels fires."""
        wanted = {"alertname": name, **labels}.items()
        alerts = (await self.ask("/alerts"))["alerts"]
        return any(wanted <= alert["labels"].items() for alert in alerts if alert["state"] == "firing")

    async def until_firing(self, name: str, seconds: float = 120, **labels: str) -> None:
        """Wait for an alert with these labels."""

        async def fires() -> bool:
            return await self.firing(name, **labels)

        await self.until(fires, f"{name} {labels} fires", seconds)

    async def until_quiet(self, name: str, seconds: float = 120, **labels: str) -> None:
        """Wait until no alert with these labels fires."""

        async def silent() -> bool:
            return not await self.firing(name, **labels)

        await self.until(silent, f"{name} {labels} ends", seconds)

    async def until_some(self, expr: str, seconds: float = 120) -> None:
        """Wait until the query has a result."""

        async def some() -> bool:
            return bool(await self.now(expr))

        await self.until(some, expr, seconds)

    async def until(self, holds: Callable[[], Any], what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await holds():  # noqa: ASYNC110 - Prometheus has nothing to wait on
                    await asyncio.sleep(ASK_SECONDS)
        except TimeoutError:
            targets = (await self.ask("/targets"))["activeTargets"]
            seen = [(t["labels"], t["health"], t["lastError"]) for t in targets]
            raise AssertionError(f"{what}: not within {seconds} s; targets: {seen}") from None


@contextlib.asynccontextmanager
async def started(folder: Path, groups: Objects, scrapes: Objects) -> AsyncIterator[Prometheus]:
    """One that asks what `scrapes` configures until left; its files are in `folder`."""
    told = {"scrape_interval": SCRAPES, "scrape_timeout": SCRAPES, "evaluation_interval": SCRAPES}
    configuration = {"global": told, "rule_files": ["rules.yaml"], "scrape_configs": scrapes}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    program = await asyncio.to_thread(prometheus.server)
    (port,) = ports.reserve()
    with (folder / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            str(program),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stderr=log,
        )
    made = Prometheus(f"http://127.0.0.1:{port}")
    try:
        await _ready(made, process, folder)
        yield made
    finally:
        await made.close()
        process.terminate()
        await process.wait()


async def _ready(made: Prometheus, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while process.returncode is None:
            with contextlib.suppress(httpx.TransportError, ValueError, AssertionError):
                await made.ask("/status/buildinfo")
                return
            await asyncio.sleep(0.1)
    raise AssertionError(f"Prometheus ended: {(folder / 'log').read_text()[-2000:]}")


def quickened(groups: Objects) -> Objects:
    """The groups, with seconds in the place of minutes. AssertionError where an expression is worded otherwise now."""
    rules = [rule for group in groups for rule in group["rules"]]
    for slow, quick in QUICKER.items():
        assert any(slow in rule["expr"] for rule in rules), f"no rule says {slow}"
        for rule in rules:
            rule["expr"] = rule["expr"].replace(slow, quick)
    for rule in rules:
        if rule.get("for", "0s") != "0s":
            rule["for"] = "2s"
    return groups
