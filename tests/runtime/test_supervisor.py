"""The supervisor as a process: attempts in order, reasons, readiness, restarts, draining, orphans."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.results import MAX_MESSAGE
from dormouse_api.runtime import Stage
from dormouse_runtime.supervisor.memory import AGAIN
from tests.runtime.scripted import engine
from tests.runtime.scripted.pod import Pod, scripted, until

pytestmark = pytest.mark.slow

Start = Callable[..., Pod]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    pods: list[Pod] = []

    def make(*parts: str, **config: Any) -> Pod:
        folder = tmp_path / str(len(pods))
        folder.mkdir()
        pods.append(scripted(folder, *parts, **config))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()


def test_a_good_engine_becomes_ready_and_its_stages_are_told(start: Start) -> None:
    pod = start("serve")
    until(pod.ready)
    state = pod.state()
    assert [entry.stage for entry in state.timeline] == [
        Stage.STARTING,
        Stage.IMPORTING,
        Stage.LOADING,
        Stage.WARMING,
        Stage.READY,
    ]
    times = [entry.at for entry in state.timeline]
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 60
    assert (state.engine, state.passed, state.failure) == ("vllm", (), None)


def test_readiness_is_held_while_the_engine_starts_and_refused_in_the_end(start: Start) -> None:
    pod = start("hang")
    until(lambda: pod.state().stage is Stage.LOADING)
    began = time.monotonic()
    status, words = pod.get("/readyz")
    assert status == 503
    assert "loading" in words
    assert time.monotonic() - began >= 2.5  # the held probe, not a refusal at once


@pytest.mark.parametrize(
    ("part", "reason", "words"),
    [
        ("unsupported", Reason.UNSUPPORTED, engine.UNSUPPORTED),
        ("out-of-memory", Reason.OUT_OF_MEMORY, engine.OUT_OF_MEMORY),
        ("killed", Reason.ENGINE_FAILED, "killed from outside"),
        ("over-the-limit", Reason.OUT_OF_MEMORY, "container's memory limit of 2.0 GiB: raise RuntimeProfile"),
        ("missing", Reason.CORRUPT, "config.json is not there"),
    ],
)
def test_the_next_engine_serves_and_the_state_says_why_the_first_does_not(
    start: Start, part: str, reason: Reason, words: str
) -> None:
    pod = start(part, "serve")
    until(pod.ready)
    state = pod.state()
    assert state.engine == "transformers"
    (passed,) = state.passed
    assert (passed.engine, passed.reason) == ("vllm", reason)
    assert words in passed.message


def test_a_refusal_that_is_sure_is_not_asked_for_again(tmp_path: Path) -> None:
    for run in range(2):
        pod = scripted(tmp_path, "unsupported", "serve")
        try:
            until(pod.ready)
            (passed,) = pod.state().passed
            assert passed.reason is Reason.UNSUPPORTED
            assert (AGAIN in passed.message, passed.seconds == 0) == (run > 0, run > 0)
            assert (engine.UNSUPPORTED in pod.log()) is (run == 0)  # the engine was started the first time only
        finally:
            pod.close()


def test_the_last_engine_is_asked_whatever_is_known(tmp_path: Path) -> None:
    for _ in range(2):
        pod = scripted(tmp_path, "unsupported")
        try:
            assert pod.end() == 1
            assert AGAIN not in pod.last_word().passed[0].message
        finally:
            pod.close()


def test_an_engine_that_takes_too_long_is_passed_over_with_its_last_line(start: Start) -> None:
    pod = start("hang", "serve", start_seconds=6)  # of which the one that serves needs more on a busy machine, too
    until(pod.ready)
    (passed,) = pod.state().passed
    assert passed.reason is Reason.ENGINE_FAILED
    assert "Loading shard 1 of 99" in passed.message
    assert passed.seconds >= 6


@pytest.mark.parametrize(("part", "stage"), [("hang", Stage.LOADING), ("hang-warm", Stage.WARMING)])
def test_a_start_that_hangs_is_passed_over_with_its_stage_though_it_repeats_itself(
    start: Start, part: str, stage: Stage
) -> None:
    pod = start(part, "serve", stall_seconds=4, start_seconds=600)
    until(pod.ready)  # and not after the time of the whole start
    (passed,) = pod.state().passed
    assert passed.reason is Reason.ENGINE_FAILED
    assert f"hung in stage {stage.value}" in passed.message


def test_no_engine_is_started_that_would_meet_the_same(start: Start) -> None:
    pod = start("no-driver", "serve")
    assert pod.end() == 1
    last = pod.last_word()
    assert [passed.engine for passed in last.passed] == ["vllm", "transformers"]
    assert "not tried, for it would run on the same node" in last.passed[1].message
    assert last.failure is not None
    assert "install the GPU's driver" in last.failure.message


def test_when_every_engine_fails_the_last_word_tells_it_and_the_pod_ends(start: Start) -> None:
    pod = start("out-of-memory", "unsupported")
    assert pod.end() == 1
    last = pod.last_word()
    assert last.stage is Stage.FAILED
    assert [passed.reason for passed in last.passed] == [Reason.OUT_OF_MEMORY, Reason.UNSUPPORTED]
    assert last.failure is not None
    assert (
        last.failure.reason is Reason.OUT_OF_MEMORY
    )  # an engine that knows the model says more than one that does not
    assert last.failure.message.startswith(last.passed[0].message)
    assert last.passed[1].message in last.failure.message
    assert len(pod.last_word_path.read_bytes()) <= MAX_MESSAGE


def test_an_engine_that_dies_while_it_serves_is_started_again_once(start: Start) -> None:
    pod = start("serve")
    until(pod.ready)
    first = pod.ask("/load")["pid"]
    pod.get("/die/3", pod.serving)
    until(lambda: pod.state().restarts == 1 and pod.state().stage is Stage.READY)
    until(pod.ready)
    assert pod.ask("/load")["pid"] != first
    (passed,) = pod.state().passed
    assert "stopped while serving" in passed.message
    assert "exit code 3" in passed.message
    pod.get("/die/4", pod.serving)
    assert pod.end() == 1
    assert "exit code 4" in (pod.last_word().failure or passed).message


@pytest.mark.parametrize(
    ("accident", "reason", "words"),
    [
        ("/kill", Reason.ENGINE_FAILED, "killed from outside"),
        # one of the engine's processes was ended, and the engine went with an exit code of its own
        ("/overlimit", Reason.OUT_OF_MEMORY, "container's memory limit of 2.0 GiB: raise RuntimeProfile"),
    ],
)
def test_a_kill_while_it_serves_is_told_by_what_the_cgroup_counted(
    start: Start, accident: str, reason: Reason, words: str
) -> None:
    pod = start("serve")
    until(pod.ready)
    pod.get(accident, pod.serving)
    until(lambda: pod.state().restarts == 1 and pod.state().stage is Stage.READY)
    (passed,) = pod.state().passed
    assert passed.reason is reason
    assert "stopped while serving" in passed.message
    assert words in passed.message


def test_a_wedged_engine_is_unready_at_once_and_ready_again_when_it_answers(start: Start) -> None:
    pod = start("serve", timing={"health_timeout": 1})
    until(pod.ready)
    pod.get("/wedge", pod.serving)
    until(lambda: not pod.ready())
    pod.get("/heal", pod.serving)
    until(pod.ready)
    assert pod.state().restarts == 0


def test_an_engine_that_stays_wedged_is_killed_and_started_again(start: Start) -> None:
    pod = start("serve", timing={"health_timeout": 1, "wedged": 4})
    until(pod.ready)
    pod.get("/wedge", pod.serving)
    until(lambda: pod.state().restarts == 1)
    until(pod.ready)
    assert "no health answer" in pod.state().passed[0].message


def test_sigterm_lets_a_request_in_flight_end_and_refuses_readiness_at_once(start: Start) -> None:
    pod = start("serve", drain_seconds=600)
    until(pod.ready)
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(pod.get("/hold", pod.serving)[0]))
    caller.start()
    until(lambda: pod.ask("/load")["server_load"] == 1)
    pod.terminate()
    until(lambda: pod.state().stage is Stage.DRAINING)
    assert pod.get("/readyz")[0] == 503
    pod.get("/release", pod.serving)
    assert pod.end() == 0
    caller.join()
    assert answers == [200]


def test_a_request_longer_than_the_drain_does_not_hold_the_pod(start: Start) -> None:
    pod = start("serve", drain_seconds=1)
    until(pod.ready)
    caller = threading.Thread(target=lambda: pod.get("/hold", pod.serving))
    caller.start()
    until(lambda: pod.ask("/load")["server_load"] == 1)
    began = time.monotonic()
    pod.terminate()
    assert pod.end() == 0
    assert time.monotonic() - began >= 1
    caller.join()


def test_an_engine_that_says_nothing_is_not_drained_for_long(start: Start) -> None:
    pod = start("serve", drain_seconds=600, timing={"untold": 1, "wedged": 600})
    until(pod.ready)
    pod.get("/wedge", pod.serving)
    pod.terminate()
    assert pod.end() == 0


def test_sigterm_during_a_start_ends_at_once(start: Start) -> None:
    pod = start("hang")
    until(lambda: pod.state().stage is Stage.LOADING)
    pod.terminate()
    assert pod.end() == 0
    assert not pod.last_word_path.exists()


def test_an_engine_that_ignores_sigterm_is_killed(start: Start) -> None:
    pod = start("stubborn")
    until(pod.ready)
    pid = pod.ask("/load")["pid"]
    pod.terminate()
    assert pod.end() == 0
    assert not Path(f"/proc/{pid}").exists()


def test_orphans_are_collected_and_nothing_outlives_the_pod(start: Start) -> None:
    pod = start("orphans")
    until(pod.ready)
    family: list[int] = []

    def settled() -> bool:
        """Only the engine and the sleeper are left: what its dead child left besides has ended and was collected."""
        children = pod.children()
        family[:] = [pid for pid, _ in children]
        return len(children) == 2 and all(state != "Z" for _, state in children)

    until(settled)
    pod.terminate()
    assert pod.end() == 0
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def test_diag_shows_the_log_without_secrets(start: Start) -> None:
    pod = start("serve")
    until(pod.ready)
    diag = pod.get("/diag")[1]
    assert "loaded with *** in hand" in diag
    assert "hf_" not in diag + pod.log()
    assert "tests.runtime.scripted.engine" in diag


def test_metrics_tell_the_stage_and_the_memory(start: Start) -> None:
    pod = start("serve")
    until(pod.ready)
    lines = pod.get("/metrics")[1].splitlines()
    assert 'dormouse_runtime_stage{stage="ready"} 1' in lines
    (resident,) = [line for line in lines if line.startswith("dormouse_runtime_resident_memory_bytes")]
    assert int(resident.split()[1]) > 5_000_000


def test_the_admin_port_answers_before_the_engine_has_started(start: Start) -> None:
    pod = start("hang")
    assert pod.get("/livez") == (200, "alive\n")
    assert pod.get("/nothing")[0] == 404
