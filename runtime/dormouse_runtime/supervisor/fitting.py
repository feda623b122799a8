"""The settings an engine is started with: those asked for, less what adaptation has taken away so far.

Remembers within a pod's life, and for the container after one that was killed; the operator remembers beyond. Which
setting comes next is `adapt`'s.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from dormouse_api.model import Engine
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.runtime import Adaptation, Attempt, Passed, RuntimeConfig
from dormouse_runtime.engines.base import Command
from dormouse_runtime.settings import Settings
from dormouse_runtime.supervisor import adapt
from dormouse_runtime.supervisor.lives import Lives, killed

log = logging.getLogger(__name__)


class Fitting:
    """What has been adapted, and the settings that come of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._config: RuntimeConfig = settings.config
        self._lives = Lives(settings.scratch, settings.config.commit)

    @property
    def adapted(self) -> tuple[Adaptation, ...]:
        """Every step, of all engines, those of earlier starts included."""
        return self._config.adapted

    def settings(self, engine: Engine) -> Settings:
        """What `engine` is to be started with."""
        return replace(self._settings, config=adapt.effective(self._config, engine))

    def resume(self) -> tuple[Adaptation, ...]:
        """Go on where a container of this pod was killed; all that is adapted then."""
        life = self._lives.ended() if self._config.adapt else None
        if life is not None:
            self._config = self._config.model_copy(update={"adapted": life.adapted})
            tried = next((each for each in self._config.attempts if each.engine is life.engine), None)
            if tried is not None:
                self.after(tried, killed(life.engine))
        return self.adapted

    def before(self, attempt: Attempt) -> bool:
        """A start begins. Whether a setting was made smaller first, because it is clear that it would not fit."""
        found = False
        if self._config.adapt:
            weights = sum(path.stat().st_size for path in Path(attempt.model_dir).glob("*.safetensors"))
            found = self._take(adapt.foreseen(self._config, attempt.engine, weights, self._settings.memory_limit))
            self._lives.begin(attempt.engine, self.adapted)
        return found

    def after(self, attempt: Attempt, passed: Passed) -> bool:
        """An engine ended as `passed`. Whether there is a smaller setting to start it with."""
        if not self._config.adapt:
            return False
        own = adapt.own_context(Path(attempt.model_dir))
        return self._take(adapt.next_step(self._config, attempt.engine, passed, own))

    def advised(self, attempt: Attempt, passed: Passed) -> Passed:
        """`passed`, with what to set where nothing adapts by itself."""
        own = adapt.own_context(Path(attempt.model_dir))
        advice = adapt.suggestion(self._config, attempt.engine, passed, own)
        return passed.model_copy(update={"message": f"{passed.message}; {advice}"}) if advice else passed

    def close(self) -> None:
        """An orderly end: the next container of this pod starts afresh."""
        self._lives.close()

    def _take(self, step: Adaptation | None) -> bool:
        if step is None:
            return False
        log.warning("%s: %s from %s to %s: %s", step.engine, step.setting.value, step.before, step.after, step.because)
        self._config = self._config.model_copy(update={"adapted": (*self.adapted, step)})
        return True


def told(command: Command, settings: Settings) -> Command:
    """`command` with the settings in its environment: engines of ours read them there, as the supervisor did."""
    return replace(command, env={ENV_RUNTIME_CONFIG: settings.config.model_dump_json(), **command.env})
