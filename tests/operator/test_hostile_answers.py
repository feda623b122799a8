"""Jobs, pods and annotations that mean harm: whatever they say, the look goes through and the status can be written."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.lease import FOREVER
from dormouse_api.results import Failure, InspectResult, Progress, PullResult
from dormouse_api.runtime import RuntimeState, Stage
from dormouse_api.status import InferenceModelStatus
from dormouse_api.text import plain
from dormouse_operator import reading, status
from dormouse_operator.decide.attempts import read_outcome
from dormouse_operator.decide.runtime import read_state
from dormouse_operator.events import NOTE_LIMIT, Recorder
from dormouse_operator.happenings import Happening, happenings
from dormouse_operator.observed import Exit, Observed
from dormouse_operator.plan import jobs
from dormouse_operator.plan.model import plan
from tests.operator.builders import (
    COMMIT,
    NOW,
    SETTINGS,
    claim,
    facts,
    gpu,
    job,
    model,
    observed,
    pod,
    profile,
    remembered,
)

Object = dict[str, Any]
INT64 = 2**63 - 1
ESCAPES = "\x1b[2J\r\nReady\u202e\u0000\u2028 $(reboot); `id`"
STRINGS = st.one_of(
    st.sampled_from(["", ESCAPES, "x" * 5000, "../../etc/passwd", "/models", "Serving", "nan", "é" * 3000]),
    st.text(max_size=6),
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 10**30, -(10**30), 2**63, 1e308, -1e308, float("inf"), float("nan"), 0.1]),
    st.integers(),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), STRINGS, NUMBERS)


def fields(shape: type[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """JSON of an object with any of the shape's fields, holding anything."""
    anything = dict.fromkeys(shape.model_fields, SCALARS) | more
    return st.fixed_dictionaries({}, optional=anything).map(json.dumps)


STAGES = st.lists(st.fixed_dictionaries({"stage": st.sampled_from([*Stage]), "at": NUMBERS}), max_size=20)
PASSED = st.fixed_dictionaries(
    {"engine": STRINGS, "reason": st.sampled_from([*Reason]), "message": STRINGS, "seconds": NUMBERS}
)
STATES = fields(
    RuntimeState,
    stage=st.sampled_from([*Stage]),
    model=STRINGS,
    commit=STRINGS,
    timeline=STAGES,
    passed=st.lists(PASSED, max_size=10),
    failure=st.none() | PASSED,
)
PROGRESS = fields(Progress, stage=STRINGS, bytes=NUMBERS, total=NUMBERS, bytes_per_second=NUMBERS)
OUTCOMES = st.one_of(
    fields(InspectResult, commit=STRINGS, files=NUMBERS, bytes=NUMBERS, capabilities=st.lists(STRINGS)).map(
        lambda text: f'{{"inspect": {text}}}'
    ),
    fields(PullResult, commit=STRINGS, files=NUMBERS, bytes=NUMBERS, seconds=NUMBERS, digest=STRINGS).map(
        lambda text: f'{{"pull": {text}}}'
    ),
    fields(Failure, reason=st.sampled_from([*Reason]), message=STRINGS, retry_after_seconds=NUMBERS).map(
        lambda text: f'{{"failure": {text}}}'
    ),
)


def accepted(shape: type[Any], text: str) -> Any:
    try:
        return shape.model_validate_json(text)
    except ValueError:
        return None


def look(o: Observed) -> InferenceModelStatus:
    """One look; its status is one that the API server takes, and its children stay where they belong."""
    todo = plan(o, SETTINGS, NOW)
    found = status.build(o, todo, None, NOW)
    told = found.wire()
    InferenceModelStatus.model_validate(told)
    for value in numbers(told):
        assert abs(value) <= INT64
    for said in found.conditions or ():
        assert said.message == plain(said.message, 4096), "one line, without what a terminal obeys"
    for happening in happenings(o.model.name, o.model.status, found):
        assert happening.reason in {*Reason, "Created", "PullStarted", "PullProgress", "Inspected", "Pulled"} or (
            happening.reason in ("Waking", "Awake", "Asleep", "QuantizeStarted", "Started")
        )
    for child in todo.apply:
        assert child["metadata"]["namespace"] == o.model.namespace
        assert "/models/.." not in json.dumps(child)
    return found


def numbers(value: object) -> list[int]:
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [value] if isinstance(value, int) else []


@settings(max_examples=300, deadline=None)
@given(OUTCOMES, st.sampled_from(["inspect", "pull", "quantize"]), st.sampled_from(["Succeeded", "Failed"]))
def test_any_termination_message_of_a_job_makes_a_status(text: str, stage: str, phase: str) -> None:
    m = model(quantization="int4")
    if stage == "inspect":
        work, seen = jobs.inspect(m, SETTINGS), m
    else:
        known = facts()
        seen = remembered(m, known, *([COMMIT] if stage == "quantize" else []))
        held = claim()
        work = (
            jobs.pull(seen, SETTINGS, known, held, profile())
            if stage == "pull"
            else jobs.quantize(seen, known, "int4", held, profile())
        )
    made = job(stage, work.digest, name="j", failed_reason="PodFailurePolicy" if phase == "Failed" else None)
    end = Exit(0 if phase == "Succeeded" else 42, "Error", text, NOW)
    ended = pod(stage, job="j", phase=phase, exit=end)
    for on in (profile(), gpu()):
        found = look(observed(seen, profile=on, jobs=(made,), pods=(ended,), claim=claim()))
        ready = next(c for c in found.conditions or () if c.type == "Ready")
        # without the quantized copy another engine may serve; without the rest nothing does
        assert phase == "Succeeded" or stage == "quantize" or ready.status == "False"


@settings(max_examples=200, deadline=None)
@given(PROGRESS)
def test_any_progress_makes_a_status(text: str) -> None:
    told = accepted(Progress, text)
    m = remembered(model(), facts())
    work = jobs.pull(m, SETTINGS, facts(), claim(), profile())
    running = pod("pull", job="j")
    found = look(observed(m, jobs=(job("pull", work.digest, name="j"),), pods=(running,), claim=claim(), progress=told))
    assert found.pull is None or 0 <= found.pull.percent <= 100


@settings(max_examples=300, deadline=None)
@given(STATES, st.booleans())
def test_any_state_of_a_runtime_makes_a_status(text: str, ready: bool) -> None:
    told = accepted(RuntimeState, text)
    m = remembered(model(scaling={"minReplicas": 1}), facts(), COMMIT)
    serving = pod(ready_at=NOW if ready else None)
    found = look(observed(m, claim=claim(), pods=(serving,), state=told))
    assert found.ready_replicas == (1 if ready else 0), "the pod's readiness alone counts"
    ended = pod(last_exit=Exit(1, "Error", text, NOW), restarts=9)
    assert look(observed(m, claim=claim(), pods=(ended,))).ready_replicas == 0


@pytest.mark.parametrize(
    "text", ["[" * 50_000, '{"inspect":' * 2_000, "{" + '"a":{' * 1_000, '{"failure": 7}', "{\x00}"]
)
def test_messages_that_are_none_are_none(text: str) -> None:
    assert read_outcome(Exit(1, "Error", text, NOW)) is None
    assert read_state(Exit(1, "Error", text, NOW)) is None


@pytest.mark.parametrize("reason", ["Serving", "ScaledToZero", "Waking", "Bound"])
def test_a_job_cannot_talk_itself_into_being_well(reason: str) -> None:
    assert read_outcome(Exit(42, "Error", f'{{"failure": {{"reason": "{reason}", "message": "m"}}}}', NOW)) is None


@pytest.mark.parametrize("commit", ["../../etc", "..", "/etc", "a/b", "", "a\nb", "-rf", "$(id)", "a" * 200])
def test_a_commit_is_never_a_way_out_of_the_volume(commit: str) -> None:
    told = json.dumps({"inspect": {"commit": commit, "files": 1, "bytes": 1}})
    assert read_outcome(Exit(0, "Completed", told, NOW)) is None


def test_last_words_of_a_log_are_one_plain_line() -> None:
    ended = pod("inspect", job="j", phase="Failed", exit=Exit(1, "Error", f"Traceback\n{ESCAPES * 90}", NOW))
    work = jobs.inspect(model(), SETTINGS)
    found = look(observed(jobs=(job("inspect", work.digest, name="j", failed_reason="x"),), pods=(ended,)))
    ready = next(c for c in found.conditions or () if c.type == "Ready")
    assert "\x1b" not in ready.message
    assert "$(reboot)" in ready.message, "harmless as text: it is not hidden"


@pytest.mark.parametrize("said", ["", "x", "-1", "²", "9" * 5000, "1e9", "0x10", "\x00", "9999-99-99", "now"])
def test_annotations_that_are_no_numbers_and_no_times_say_nothing(said: str) -> None:
    notes = {f"{names.GROUP}/{key}": said for key in ("attempt", "generation", "woken-at", "asked-at", "turned-out-at")}
    notes[names.ANNOTATION_RESTARTED] = said
    meta = {"name": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": notes, "labels": notes}
    assert reading.read_job({"metadata": meta}).attempt == 0
    runtime = reading.read_runtime({"metadata": meta, "spec": {"template": {}}})
    assert runtime is not None
    assert (runtime.woken_at, runtime.asked_at, runtime.turned_out) == (None, None, None)
    assert reading.read_pod({"metadata": meta}).reload_at is None
    assert reading.read_restart({"metadata": meta}, None) is None


@pytest.mark.parametrize("renewed", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("duration", [1, FOREVER])
@pytest.mark.parametrize("awake", [0, 1])
def test_a_lease_of_any_time_is_a_wish_like_another(renewed: str, duration: int, awake: int) -> None:
    m = remembered(model(scaling={"minReplicas": awake}), facts(), COMMIT)
    wish = reading.read_lease({"spec": {"renewTime": renewed, "leaseDurationSeconds": duration}})
    assert wish is not None
    o = observed(m, claim=claim(), wish=wish)
    look(o)
    deployment = next(child for child in plan(o, SETTINGS, NOW).apply if child["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == (1 if renewed.startswith("9") else awake)
    assert reading.read_runtime(deployment) is not None


@pytest.mark.parametrize("number", ["²", "9" * 400, "-1", "1.5", "x", "0x7"])
@pytest.mark.parametrize("flag", ["--max-num-seqs", "--max-num-batched-tokens"])
def test_flags_that_are_no_numbers_are_left_to_the_engine(flag: str, number: str) -> None:
    m = remembered(model(engine={"args": [f"{flag}={number}"]}), facts(), COMMIT)
    o = observed(m, profile=gpu(), claim=claim())
    look(o)
    deployment = next(child for child in plan(o, SETTINGS, NOW).apply if child["kind"] == "Deployment")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    value = next(v["value"] for v in variables if v["name"] == names.ENV_RUNTIME_CONFIG)
    assert f"{flag}={number}" in json.loads(value)["args"]


def test_what_the_kubelet_would_replace_reaches_the_engine_as_it_was_written() -> None:
    written = "{{ '$(HOME)' }} $$(HOME) $ cost $5"
    m = remembered(model(engine={"chatTemplate": written}), facts(), COMMIT)
    todo = plan(observed(m, claim=claim()), SETTINGS, NOW)
    deployment = next(child for child in todo.apply if child["kind"] == "Deployment")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    value = next(v["value"] for v in variables if v["name"] == names.ENV_RUNTIME_CONFIG)
    assert "$" not in value.replace("$$", "")
    assert json.loads(value.replace("$$", "$"))["chat_template"] == written


def test_the_note_of_an_event_has_the_bytes_that_the_api_server_takes() -> None:
    recorder = Recorder(poster=None, instance="i")  # type: ignore[arg-type]
    body = recorder._body(model(), Happening("R", "語" * 900, "A"), "n", NOW)
    assert 0 < len(body["note"].encode()) <= NOTE_LIMIT


@pytest.mark.parametrize("letter", ["語", "\u0001", '"', "🦔"])
def test_a_template_that_no_process_can_be_told_is_said_at_once(letter: str) -> None:
    found = look(observed(model(engine={"chatTemplate": letter * 65_536})))
    ready = next(c for c in found.conditions or () if c.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "InvalidSpec")
    assert "shorten the template" in ready.message


def test_the_longest_template_of_plain_letters_is_taken() -> None:
    m = remembered(model(engine={"chatTemplate": "x" * 65_536}), facts(), COMMIT)
    todo = plan(observed(m, claim=claim()), SETTINGS, NOW)
    deployment = next(child for child in todo.apply if child["kind"] == "Deployment")
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert max(len(v["value"].encode()) for v in variables) < 128 * 1024
