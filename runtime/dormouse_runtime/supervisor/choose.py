"""Why an engine did not come to serve, and whether the next one is worth its start. Pure.

From an ending (exit, last lines, what the kernel's killer did, where it hung) to a reason and one sentence; the words
that tell reasons are in `rules`.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Attempt, Passed, Stage
from dormouse_runtime.supervisor.oom import Killed
from dormouse_runtime.supervisor.rules import MORE_MEMORY, PULL_AGAIN, RULES, Blame

MAX_WORDS = 1200
MAX_QUOTE = 400
"""Characters of an engine's own words: vLLM lists every architecture it knows."""
MAX_OTHERS = 300
"""Characters of what the other engines' failures are told in, each."""
GIB = 2**30

_LONGER = "raise startSeconds in the profile, or look at kubectl logs for what it waits for"
_LOGS = "look at kubectl logs of the pod, and at the profile's image and args"
_SLOW = "raise stallSeconds in the profile where it is only slow"
_HUNG = {
    Stage.STARTING: f"look at the node (kubectl describe node): its disk or its processors are busy; {_SLOW}",
    Stage.IMPORTING: f"look at the node (kubectl describe node): its disk or its processors are busy; {_SLOW}",
    Stage.LOADING: f"look at the volume (kubectl describe pvc) and at the node's way to it; {_SLOW}",
    Stage.COMPILING: f"add --enforce-eager to spec.engine.args, and look at the GPU (nvidia-smi on the node); {_SLOW}",
    Stage.WARMING: f"look at the GPU (nvidia-smi and dmesg on the node), and at spec.engine.args; {_SLOW}",
}


@dataclass(frozen=True)
class Ending:
    """How an engine's process ended."""

    exit_code: int | None
    """Negative for a signal; None where the supervisor gave up on it."""
    seconds: float
    lines: tuple[str, ...]
    timed_out: bool = False
    stage: Stage | None = None
    """Where it was then."""
    stalled: float | None = None
    """Seconds without any progress after which the supervisor gave up."""
    killed: Killed | None = None
    """What the kernel's killer did meanwhile; None: nobody knows."""


@dataclass(frozen=True)
class Cause:
    """What an ending comes to."""

    reason: Reason
    message: str
    blame: Blame = Blame.ENGINE


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
    found, before = "", ""
    for line in map(bare, lines):
        value, error = _VALUE.match(line), _ERROR.match(line)
        if value:
            found = value[1]
        elif error and not _GENERIC.search(line):
            # an assertion without words is told by its own source
            found = line.strip() if error[2] else f"{line.strip().rstrip(':')}: {before}"
        if line.strip(" ^~"):
            before = line.strip()
    return found or next((line for line in reversed([bare(each) for each in lines]) if line.strip()), "")


def shorten(words: str) -> str:
    """At most MAX_QUOTE characters, cut at the end of a sentence where there is one."""
    if len(words) <= MAX_QUOTE:
        return words
    head, end, _ = words[:MAX_QUOTE].rpartition(". ")
    return head + end.strip() if len(head) > 40 else f"{words[:MAX_QUOTE]}..."


def judge(attempt: Attempt, ending: Ending) -> Passed:
    """The attempt as it is written into the state: reason, and the engine's words with the fix."""
    return passed(attempt, cause(ending), ending.seconds)


def passed(attempt: Attempt, why: Cause, seconds: float) -> Passed:
    """The attempt as it is written into the state."""
    message = why.message[:MAX_WORDS]
    return Passed(engine=attempt.engine.value, reason=why.reason, message=message, seconds=round(seconds, 3))


def cause(ending: Ending) -> Cause:
    """The reason of an ending, the process's own words with the fix, and whose fault it is."""
    words = shorten(meaningful(ending.lines)).rstrip(".")
    if ending.stalled is not None:
        return _hung(ending, ending.stalled, words)
    if ending.timed_out:
        where = f", in stage {ending.stage.value}" if ending.stage else ""
        text = f"not ready after {ending.seconds:.0f} s{where}; its last line: {words}: {_LONGER}"
        return Cause(Reason.ENGINE_FAILED, text)
    by_signal = ending.exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    if ending.killed is not None and ending.killed.by_kernel:
        return _out_of_memory(ending.killed)
    for rule in RULES:
        if rule.stage not in (None, ending.stage):
            continue
        if rule.words.search(words) or (not words and any(rule.words.search(line) for line in ending.lines)):
            return Cause(rule.reason, f"{words}: {rule.fix}", rule.blame)
    if by_signal and ending.killed is None:
        return Cause(Reason.OUT_OF_MEMORY, f"killed by the kernel, most likely out of memory: {MORE_MEMORY}")
    if by_signal:
        return Cause(
            Reason.ENGINE_FAILED,
            f"killed from outside (signal 9, SIGKILL), not for memory{_in(ending.stage)}: look at who ends processes "
            "of this pod (kubectl describe pod, the node's journal)",
        )
    return Cause(Reason.ENGINE_FAILED, f"ended with {_exit(ending.exit_code)}: {words or 'it said nothing'}: {_LOGS}")


def missing(damage: str) -> Cause:
    """What is wrong with a folder, found before anything was started."""
    return Cause(Reason.CORRUPT, f"{damage}: {PULL_AGAIN}", Blame.WEIGHTS)


def hopeless(attempt: Attempt, failed: Sequence[tuple[Attempt, Cause]]) -> Cause | None:
    """Why `attempt` need not be started after those that failed; None where it may serve."""
    for other, why in failed:
        same = why.blame is Blame.WEIGHTS and other.model_dir == attempt.model_dir
        if same or why.blame in (Blame.SETTING, Blame.NODE):
            return Cause(why.reason, f"not tried, for {_SHARED[why.blame]} as {other.engine.value}", why.blame)
    return None


_SHARED = {
    Blame.WEIGHTS: "it would read the same files",
    Blame.SETTING: "it would be asked for the same",
    Blame.NODE: "it would run on the same node and image",
}


def verdict(tried: Sequence[Passed]) -> Passed:
    """What is told when nothing serves: the first engine that knows the model, and what the others said."""
    main = next((each for each in tried if each.reason is not Reason.UNSUPPORTED), tried[0])
    others = [each for each in tried if each is not main]
    told = "".join(f"; {each.engine}: {_clipped(each.message)}" for each in others)
    return main.model_copy(update={"message": f"{main.message}{told}"[: 2 * MAX_OTHERS + MAX_WORDS - 400]})


def _clipped(words: str) -> str:
    return words if len(words) <= MAX_OTHERS else f"{words[:MAX_OTHERS]}..."


def _hung(ending: Ending, seconds: float, words: str) -> Cause:
    stage = ending.stage or Stage.STARTING
    text = f"hung in stage {stage.value}: no line, no byte read and no work for {seconds:.0f} s"
    last = f"; its last line: {words}" if words else ""
    return Cause(Reason.ENGINE_FAILED, f"{text}{last}: {_HUNG.get(stage, _LONGER)}")


def _out_of_memory(killed: Killed) -> Cause:
    if killed.at_limit and killed.limit is not None:
        text = f"the kernel ended it at the container's memory limit of {killed.limit / GIB:.1f} GiB: raise "
        text += "RuntimeProfile spec.resources.limits.memory, lower its kvCacheMemory, or ask for a smaller copy"
        return Cause(Reason.OUT_OF_MEMORY, text)
    text = (
        "the kernel ended it because the node ran out of memory, below the container's own limit: raise RuntimeProfile "
    )
    text += "spec.resources.requests.memory to what the model needs, or free the node's memory"
    return Cause(Reason.OUT_OF_MEMORY, text)


def _in(stage: Stage | None) -> str:
    return f", in stage {stage.value}" if stage else ""


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {-code} ({signal.Signals(-code).name})"
    return f"exit code {code}"
