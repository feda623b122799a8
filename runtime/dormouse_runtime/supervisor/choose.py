"""Why an engine did not come to serve: from its exit and its last lines to a reason and one sentence. Pure.

Owns the table of words that engines use. A new engine version may word things differently: what no row knows is
EngineFailed with the engine's own last error line.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Attempt, Passed

MAX_WORDS = 1200
MAX_QUOTE = 400
"""Characters of an engine's own words: vLLM lists every architecture it knows."""


@dataclass(frozen=True)
class Ending:
    """How an engine's process ended."""

    exit_code: int | None
    """Negative for a signal; None where the supervisor gave up on it."""
    seconds: float
    lines: tuple[str, ...]
    timed_out: bool = False


@dataclass(frozen=True)
class Rule:
    """Words that tell a reason, and what to do about it."""

    reason: Reason
    words: re.Pattern[str]
    fix: str


def _rule(reason: Reason, words: str, fix: str) -> Rule:
    return Rule(reason, re.compile(words, re.IGNORECASE), fix)


_MORE_MEMORY = "give the profile more memory, or ask for a smaller quantization"
_SHORTER = "lower spec.engine.maxModelLen, or raise kvCacheMemory in the profile"
_PULL_AGAIN = "the weights on the volume are not whole: delete the model's pull Job, and it pulls them again"
_OTHER_ENGINE = "use an engine that knows it (spec.engine.order)"

RULES = (
    _rule(
        Reason.OUT_OF_MEMORY,
        r"larger than the available KV cache memory|No available memory for the cache blocks"
        r"|kv ?cache allocation is less",
        _SHORTER,
    ),
    _rule(
        Reason.OUT_OF_MEMORY,
        r"out of memory|OutOfMemoryError|MemoryError|std::bad_alloc|can't allocate memory|Cannot allocate memory"
        r"|less than desired (CPU|GPU) memory",
        _MORE_MEMORY,
    ),
    _rule(
        Reason.UNSUPPORTED,
        r"trust_remote_code|execute the (configuration|custom) (file|code)|contains custom code",
        "the model needs its own Python code: the administrator must set remoteCode: Allowed in the profile",
    ),
    _rule(
        Reason.UNSUPPORTED,
        r"architectures? .*(not supported|failed to be inspected)|does not recognize this architecture"
        r"|no vLLM implementation|has no .*implementation.* compatible|Unrecognized (model|configuration)"
        r"|not supported on (the )?current platform",
        _OTHER_ENGINE,
    ),
    _rule(
        Reason.QUANTIZATION_FAILED,
        r"quantization method|quantization_config|quant_method|bitsandbytes|compressed.tensors|unsupported quantization"
        r"|Failed to find a kernel that can implement|No \w+ (\w+ )?backend supports",
        "choose another spec.quantization",
    ),
    _rule(
        Reason.CORRUPT,
        r"No such file or directory|FileNotFoundError|does not appear to have a file named"
        r"|Cannot find any model weights|SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer"
        r"|Error while deserializing header",
        _PULL_AGAIN,
    ),
    _rule(Reason.ENGINE_FAILED, r"Address already in use|EADDRINUSE", "another process holds the serving port"),
)

_PREFIX = re.compile(r"^(\([A-Za-z_0-9 ]+pid=\d+\)\s*)?((ERROR|INFO|WARNING|CRITICAL)\s+[\d-]+ [\d:.,]+ (\[\S+\] ?)?)?")
_ERROR = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Interrupt|Exit|Killed))\b:?\s*(.*)$")
_VALUE = re.compile(r"^\s*(?:Value|Assertion) error, (.+?)(?: \[type=.*)?$")
_GENERIC = re.compile(
    r"Engine core initialization failed|Failed core proc|See root cause above|WorkerProc initialization failed"
    r"|\d+ validation errors? for|Traceback|^SystemExit|KeyboardInterrupt|EngineDeadError"
)


def bare(line: str) -> str:
    """A log line without the process, level, time and place that vLLM puts before the words."""
    return _PREFIX.sub("", line, count=1)


def meaningful(lines: Sequence[str]) -> str:
    """The error line that tells most: the last one that is not merely the echo of another process's error."""
    found = ""
    for line in map(bare, lines):
        value, error = _VALUE.match(line), _ERROR.match(line)
        if value:
            found = value[1]
        elif error and not _GENERIC.search(line):
            found = line.strip()
    return found or next((line for line in reversed([bare(each) for each in lines]) if line.strip()), "")


def shorten(words: str) -> str:
    """At most MAX_QUOTE characters, cut at the end of a sentence where there is one."""
    if len(words) <= MAX_QUOTE:
        return words
    head, end, _ = words[:MAX_QUOTE].rpartition(". ")
    return head + end.strip() if len(head) > 40 else f"{words[:MAX_QUOTE]}..."


def judge(attempt: Attempt, ending: Ending) -> Passed:
    """The attempt as it is written into the state: reason, and the engine's words with the fix."""
    why, message = reason(ending)
    return Passed(
        engine=attempt.engine.value, reason=why, message=message[:MAX_WORDS], seconds=round(ending.seconds, 3)
    )


def reason(ending: Ending) -> tuple[Reason, str]:
    """The reason of an ending, and the process's own words with the fix."""
    words = shorten(meaningful(ending.lines))
    if ending.timed_out:
        text = f"not ready after {ending.seconds:.0f} s (the profile's startSeconds); its last line: {words}"
        return Reason.ENGINE_FAILED, text
    for rule in RULES:
        if rule.words.search(words) or (not words and any(rule.words.search(line) for line in ending.lines)):
            return rule.reason, f"{words.rstrip('.')}: {rule.fix}"
    if ending.exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Reason.OUT_OF_MEMORY, f"killed by the kernel, most likely out of memory: {_MORE_MEMORY}"
    return Reason.ENGINE_FAILED, f"ended with {_exit(ending.exit_code)}: {words or 'it said nothing'}"


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"


def missing(attempt: Attempt, path: str) -> Passed:
    """The attempt whose folder cannot be served, found before anything was started."""
    message = f"{path} is not there: {_PULL_AGAIN}"
    return Passed(engine=attempt.engine.value, reason=Reason.CORRUPT, message=message, seconds=0.0)
