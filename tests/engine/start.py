"""The scripted start: stages, engines passed over, failures, as the supervisor of a runtime pod reports them.

A script is JSON: `{"stages": [["importing", 0.1], ...], "refuse": {"vllm": "words"}, "wedge": true, "exit": 1,
"quantize": {"fail": "words"}}`. It comes in the environment (DORMOUSE_SCRIPT) or, since only weights and the
InferenceModel reach a pod in a cluster, as `script.json` among the pulled weights.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = "script.json"
STAGES: tuple[tuple[str, float], ...] = (("importing", 0.05), ("loading", 0.05), ("warming", 0.02))


@dataclass(frozen=True)
class Script:
    stages: tuple[tuple[str, float], ...] = STAGES
    """(stage, seconds) in order; `ready` follows by itself."""
    refuse: dict[str, str] = field(default_factory=dict)
    """Engine name to the words it fails with."""
    wedge: bool = False
    """Never become ready."""
    exit: int | None = None
    """End the process with this code after the stages, saying nothing."""
    quantize_fail: str | None = None
    quantize_seconds: float = 0.1


def pulled(model_dir: str, commit: str) -> Path:
    """The folder of the weights as pulled, which lies beside every copy made of them."""
    return Path(model_dir).parent / commit


def read_script(folder: Path, environment: str | None) -> Script:
    """The environment's script, else the one among the weights, else the default."""
    file = folder / SCRIPT
    raw = json.loads(environment or (file.read_text() if file.exists() else "{}"))
    quantize = raw.get("quantize", {})
    return Script(
        stages=tuple((str(stage), float(seconds)) for stage, seconds in raw.get("stages", STAGES)),
        refuse=raw.get("refuse", {}),
        wedge=raw.get("wedge", False),
        exit=raw.get("exit"),
        quantize_fail=quantize.get("fail"),
        quantize_seconds=quantize.get("seconds", 0.1),
    )


class Start:
    """One start being played. `state()` is the body of `GET :8001/state`."""

    def __init__(self, config: dict[str, Any], script: Script) -> None:
        self._config = config
        self._script = script
        self._timeline: list[dict[str, Any]] = []
        self._passed: list[dict[str, Any]] = []
        self._attempt: dict[str, Any] | None = None
        self._failure: dict[str, Any] | None = None
        self.ready = asyncio.Event()
        self.enter("starting")

    @property
    def stage(self) -> str:
        return str(self._timeline[-1]["stage"])

    def enter(self, stage: str) -> None:
        self._timeline.append({"stage": stage, "at": time.time()})

    async def run(self) -> bool:
        """Play the stages; whether an engine serves at the end."""
        for attempt in self._config["attempts"]:
            self._attempt = attempt
            began = time.monotonic()
            for stage, seconds in self._script.stages:
                self.enter(stage)
                await asyncio.sleep(seconds)
            words = self._script.refuse.get(attempt["engine"])
            if words is None:
                await self._mishap()
                return True
            self._passed.append(_passed(attempt["engine"], words, time.monotonic() - began))
        self._failure = self._passed[-1]
        self.enter("failed")
        return False

    async def _mishap(self) -> None:
        if self._script.exit is not None:
            raise SystemExit(self._script.exit)
        if self._script.wedge:
            await asyncio.Event().wait()

    def arrive(self) -> None:
        """The serving port answers."""
        self.enter("ready")
        self.ready.set()

    def drain(self) -> None:
        self.ready.clear()
        self.enter("draining")

    def state(self) -> dict[str, Any]:
        attempt = self._attempt or {}
        return {
            "stage": self.stage,
            "model": self._config["model"],
            "commit": self._config["commit"],
            "engine": attempt.get("engine"),
            "quantization": attempt.get("quantization"),
            "passed": self._passed,
            "timeline": self._timeline,
            "failure": self._failure,
        }


def _passed(engine: str, words: str, seconds: float) -> dict[str, Any]:
    return {"engine": engine, "reason": "Unsupported", "message": words, "seconds": round(seconds, 3)}
