"""The diffusers engine on a real pipeline: pictures, seeds, refusals, clients that leave, code that must not run."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Stage
from tests.png import opened
from tests.runtime.engine.conftest import Serve, ready
from tests.runtime.scripted.pod import Pod, until

pytestmark = pytest.mark.engine

STEPS = 2


def ask(pod: Pod, **fields: Any) -> Any:
    body = {"model": "tiny", "prompt": "a mouse", "steps": STEPS, "size": "64x64", "seed": 1, **fields}
    return pod.post("/v1/images/generations", body)


def drawn(pod: Pod, **fields: Any) -> list[bytes]:
    return [base64.b64decode(item["b64_json"]) for item in ask(pod, **fields)["data"]]


def load(pod: Pod) -> int:
    return int(pod.ask("/load")["server_load"])


def test_it_draws(serve: Serve, models: Path) -> None:
    pod = serve(("diffusers", models / "tiny-diffusion", "none"))
    assert ready(pod)
    state = pod.state()
    assert (state.engine, state.passed) == ("diffusers", ())
    stages = [entry.stage for entry in state.timeline]
    assert stages == [Stage.STARTING, Stage.IMPORTING, Stage.LOADING, Stage.WARMING, Stage.READY]
    [first] = drawn(pod)
    assert opened(first)[:2] == (64, 64)
    assert drawn(pod) == [first]
    [other] = drawn(pod, seed=2)
    assert other != first
    assert drawn(pod, n=2) == [first, other]
    assert drawn(pod, negative_prompt="a cat", guidance_scale=9.5) != [first]
    assert opened(drawn(pod, size="auto")[0])[:2] == (64, 64)
    assert opened(drawn(pod, size="48x80")[0])[:2] == (48, 80)
    assert "multiples of 8: ask for 64x64" in ask(pod, size="60x64")["error"]["message"]
    leaves_in_the_middle(pod)
    assert drawn(pod) == [first]
    pod.terminate()
    assert pod.end() == 0


def leaves_in_the_middle(pod: Pod) -> None:
    """500 steps of a large picture would take minutes: it ends at its next step."""
    body = json.dumps({"prompt": "a mouse", "steps": 500, "size": "256x256"})
    with socket.create_connection(("127.0.0.1", pod.serving)) as client:
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body.encode())
        until(lambda: load(pod) == 1)
    until(lambda: load(pod) == 0)


def test_a_pipeline_that_brings_its_own_code_is_refused_and_its_code_does_not_run(
    serve: Serve, models: Path, tmp_path: Path
) -> None:
    folder, trace = tmp_path / "smuggled", tmp_path / "ran"
    shutil.copytree(models / "tiny-diffusion", folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["smuggled_unet", "Unet"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "smuggled_unet.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Unet: pass\n")
    pod = serve(("diffusers", folder, "none"))
    assert pod.end() == 1
    failure = pod.last_word().failure
    assert failure is not None
    assert failure.reason is Reason.REMOTE_CODE_FORBIDDEN
    assert "remoteCode: Allowed" in failure.message
    assert not trace.exists()


def test_a_folder_without_an_index_is_refused_before_anything_is_imported(serve: Serve, tmp_path: Path) -> None:
    pod = serve(("diffusers", tmp_path, "none"))
    assert pod.end() == 1
    failure = pod.last_word().failure
    assert failure is not None
    assert failure.reason is Reason.CORRUPT
    assert "model_index.json is not there" in failure.message
