"""What is measured: nothing at all, nginx, the router, and other projects' routers, each in front of one engine.

Each has a process on the proxy's core. Only the one under measurement runs: the others are stopped (SIGSTOP) meanwhile,
so that no idle timer of one shows in the figures of another.
"""

import contextlib
import time
from collections.abc import Iterator
from http import client
from pathlib import Path

from bench.routing.bodies import KEY, SMALL_CHAT
from bench.routing.nginx import nginx_proxy
from bench.routing.processes import BenchError, Process, free_port, python, running
from bench.routing.rivals import litellm, vllm_router

PROXY_CORE, LOAD_CORE = 0, 1
DIRECT, NGINX, BARE, ROUTER, GUARDED = "direct", "nginx", "bare", "router", "guarded"
VLLM_ROUTER, LITELLM = "vllm-router", "LiteLLM"
TARGETS = (DIRECT, NGINX, BARE, ROUTER, GUARDED, VLLM_ROUTER, LITELLM)
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
START_SECONDS = 90.0
"""LiteLLM imports for ten seconds on a quiet machine."""


class Target:
    """One target before `engine`, listening on `port`. `direct` is the engine itself and has no process."""

    def __init__(self, name: str, engine: int, folder: Path, interpreter: str) -> None:
        """`interpreter` runs our router. Nothing is started yet."""
        self.name, self.engine = name, engine
        self.port = engine if name == DIRECT else free_port()
        self.process: Process | None = None
        self._folder, self._interpreter = folder, interpreter
        self._starts = 0
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Run it until it answers, then stop its clock."""
        if self.name != DIRECT:
            self._starts += 1
            log = self._folder / f"{self.name}.log"
            output = self._running.enter_context(log.open("ab"))
            try:
                self.process = self._running.enter_context(
                    running(self._argv(), PROXY_CORE, self.port, seconds=START_SECONDS, output=output)
                )
            except BenchError as error:
                raise BenchError(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from error
        self._await_answer()
        if self.process is not None:
            self.process.pause()

    def end(self) -> None:
        self._running.close()
        self.process = None

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Running, and with an answer just given."""
        if self.process is None:
            yield
            return
        self.process.resume()
        self._await_answer()
        yield
        self.process.pause()

    def _argv(self) -> list[str]:
        if self.name == NGINX:
            return nginx_proxy(self._folder / f"nginx-{self.port}-{self._starts}", self.port, self.engine)
        if self.name == VLLM_ROUTER:
            return vllm_router(self.port, self.engine)
        if self.name == LITELLM:
            return litellm(self._folder, self.port, self.engine)
        if self.name == GUARDED:
            guarded = ("--guarded", self._folder / f"guarded-{self.port}-{self._starts}")
            return python("bench.routing.proxy", self.port, self.engine, *guarded, interpreter=self._interpreter)
        ours = "bench.routing.bare" if self.name == BARE else "bench.routing.proxy"
        return python(ours, self.port, self.engine, interpreter=self._interpreter)

    def _await_answer(self) -> None:
        """A listening port is no ready proxy: some check their engines first."""
        deadline = time.monotonic() + START_SECONDS
        said = ""
        while time.monotonic() < deadline:
            connection = client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
            try:
                connection.request("POST", "/v1/chat/completions", SMALL_CHAT, HEADERS)
                with connection.getresponse() as answer:
                    text = answer.read()
                    if answer.status == 200:
                        return
                    said = f"{answer.status} {text[:200]!r}"
            except OSError as error:
                said = repr(error)
            finally:
                connection.close()
            time.sleep(0.1)
        raise BenchError(f"{self.name} does not answer: {said}")
