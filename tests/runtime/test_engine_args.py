"""The engines' command lines, environments and log lines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.adapters import LoraConfig
from dormouse_api.model import ENGINE_ARGS, Engine
from dormouse_api.runtime import Attempt, RuntimeConfig, Stage
from dormouse_api.speculative import Method, SpeculativeConfig
from dormouse_runtime import engines, settings
from dormouse_runtime.engines import base, torch_args, transformers_args, vllm_args

ATTEMPT = Attempt(engine=Engine.VLLM, model_dir="/models/abc")
HF_HOST = torch_args.Host(python="python3", scratch=Path("/tmp/d"), cpus=2.5, version="5.19.0")
HOST = vllm_args.Host(python="python3", address="0.0.0.0", scratch=Path("/tmp/d"), cpus=4, version="0.32.0")


def config(**fields: Any) -> RuntimeConfig:
    base: dict[str, Any] = {
        "model": "tiny",
        "commit": "abc",
        "source": "hf://a/b",
        "attempts": (ATTEMPT,),
        "kv_cache_bytes": 2**28,
    }
    return RuntimeConfig(**{**base, **fields})


def flags(**fields: Any) -> tuple[str, ...]:
    return vllm_args.arguments(config(**fields), ATTEMPT, HOST, Path("/tmp/d/chat_template.jinja"))


def test_the_plain_command_on_a_cpu() -> None:
    assert flags() == (
        "--model=/models/abc",
        "--served-model-name=tiny",
        "--host=0.0.0.0",
        "--port=8000",
        "--dtype=auto",
        "--max-model-len=auto",
        "--max-num-seqs=64",
        "--kv-cache-memory-bytes=268435456",
        "--tensor-parallel-size=1",
        "--enable-server-load-tracking",
        "--scheduling-policy=priority",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
        "--enforce-eager",
        "--distributed-executor-backend=uni",
    )


def test_spans_go_where_the_pods_environment_says_and_change_no_compiled_code() -> None:
    address = "http://collector:4318/v1/traces"
    host = replace(HOST, traces=address)
    template = Path("/tmp/d/chat_template.jinja")
    told = vllm_args.arguments(config(), ATTEMPT, host, template)
    assert f"--otlp-traces-endpoint={address}" in told
    environment = vllm_args.environment(config(), host, told)
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
    assert vllm_args.cache_key(config(), host, told) == vllm_args.cache_key(config(), HOST, flags())
    env = {names.ENV_RUNTIME_CONFIG: config().model_dump_json(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": address}
    assert settings.from_environment(env).traces == address


@pytest.mark.parametrize(
    ("fields", "present", "absent"),
    [
        ({"device": "cuda", "devices": 4}, ["--tensor-parallel-size=4"], ["--enforce-eager", "executor-backend"]),
        ({"devices": 2}, ["--tensor-parallel-size=2", "--enforce-eager"], ["executor-backend"]),
        ({"task": "embed"}, ["--runner=pooling"], []),
        (
            {"tool_call_parser": "hermes"},
            ["--enable-auto-tool-choice", "--tool-call-parser=hermes"],
            ["--reasoning-parser"],
        ),
        ({"reasoning_parser": "qwen3"}, ["--reasoning-parser=qwen3"], ["--enable-auto-tool-choice"]),
        ({"chat_template": "{{ messages }}"}, ["--chat-template=/tmp/d/chat_template.jinja"], []),
        ({"remote_code": True}, ["--trust-remote-code"], []),
        ({"max_model_len": 4096, "dtype": "float16"}, ["--max-model-len=4096", "--dtype=float16"], ["auto"]),
        ({"args": ("--seed=7",)}, ["--seed=7"], ["--trust-remote-code", "--chat-template"]),
    ],
)
def test_what_a_field_adds(fields: dict[str, Any], present: list[str], absent: list[str]) -> None:
    made = flags(**fields)
    assert set(present) <= set(made)
    assert not [flag for flag in made for word in absent if word in flag]


def test_the_users_own_flags_come_last_so_they_win() -> None:
    args = tuple(f"{flag}=1" for flag in ENGINE_ARGS)
    assert flags(args=args)[-len(args) :] == args


def test_a_template_is_written_before_the_start_and_weights_are_read_ahead(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").touch()
    (tmp_path / "a.safetensors").touch()
    attempt = Attempt(engine=Engine.VLLM, model_dir=str(tmp_path))
    command = vllm_args.command(config(chat_template="{{ x }}"), attempt, HOST)
    assert command.files == {Path("/tmp/d/chat_template.jinja"): "{{ x }}"}
    assert command.preload == (tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert command.argv[:4] == ("python3", "-P", "-m", "dormouse_runtime.engines.vllm")


def test_the_environment_is_offline_and_writes_only_where_it_may() -> None:
    env = vllm_args.environment(config(), HOST, flags())
    assert env["HF_HUB_OFFLINE"] == env["VLLM_NO_USAGE_STATS"] == env["DO_NOT_TRACK"] == "1"
    assert env["NUMBA_NUM_THREADS"] == "1"
    paths = [value for value in env.values() if value.startswith("/")]
    assert paths
    assert all(path.startswith(("/cache/vllm/", "/tmp/d")) for path in paths)


def test_a_cpu_forks_one_worker_with_threads_counted_and_not_pinned() -> None:
    host = replace(HOST, preload_libraries=("/lib/libgomp.so.1",))
    env = vllm_args.environment(config(), host, ())
    assert (env["VLLM_CPU_OMP_THREADS_BIND"], env["TORCH_COMPILE_DISABLE"]) == ("nobind", "1")
    assert (env["OMP_NUM_THREADS"], env[vllm_args.ENV_FORK], env["LD_PRELOAD"]) == ("3", "1", "/lib/libgomp.so.1")
    cuda = vllm_args.environment(config(device="cuda"), host, ())
    assert not {
        "TORCH_COMPILE_DISABLE",
        "OMP_NUM_THREADS",
        vllm_args.ENV_FORK,
        "LD_PRELOAD",
        "VLLM_ENABLE_V1_MULTIPROCESSING",
    } & set(cuda)


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1, 1), (2, 1), (2.9, 1), (3, 2), (16, 15)])
def test_one_processor_is_left_to_the_api_server(cpus: float, threads: int) -> None:
    assert vllm_args.worker_threads(cpus) == threads


def test_the_cache_belongs_to_engine_weights_flags_and_processor() -> None:
    def key(host: vllm_args.Host = HOST, **fields: Any) -> str:
        made = config(**fields)
        return vllm_args.cache_key(made, host, vllm_args.arguments(made, ATTEMPT, host, Path("/t")))

    others = [
        key(),
        key(commit="def"),
        key(dtype="float16"),
        key(device="cuda"),
        key(replace(HOST, version="0.33.0")),
        key(replace(HOST, processor="aarch64")),
    ]
    assert len(set(others)) == len(others)
    assert key(model="other", serving_port=9) == key()


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        ("[dormouse] stage importing", Stage.IMPORTING),
        ("[dormouse] stage nowhere", None),
        ("(EngineCore pid=1) INFO 11-21 [cpu_model_runner.py:68] Starting to load model /models/abc...", Stage.LOADING),
        ("INFO torch.compile takes 12.3 s in total", Stage.COMPILING),
        ("WARNING Enforce eager set, disabling torch.compile, CUDAGraphs", None),
        ("Capturing CUDA graphs (mixed prefill-decode): 10%", Stage.WARMING),
        ("(EngineCore pid=1) INFO [kv_cache_utils.py:2327] CPU KV cache size: 87,296 tokens", Stage.WARMING),
        ("(APIServer pid=1) INFO Route: /health, Methods: GET", None),
    ],
)
def test_stages_are_read_from_the_log(line: str, stage: Stage | None) -> None:
    assert vllm_args.stage_of(line) is stage


def test_the_transformers_command() -> None:
    attempt = Attempt(engine=Engine.TRANSFORMERS, model_dir="/models/abc", quantization="nf4")
    command = transformers_args.command(config(), attempt, HF_HOST)
    module = "dormouse_runtime.engines.transformers"
    assert command.argv == ("python3", "-P", "-m", module, "/models/abc", "nf4")
    assert (command.env["HF_HUB_OFFLINE"], command.env["OMP_NUM_THREADS"]) == ("1", "2")


def test_every_engine_of_the_api_has_an_adapter() -> None:
    made = engines.adapters(settings.Settings(config()))
    assert set(made) == set(Engine)
    for engine, adapter in made.items():
        assert adapter.command(Attempt(engine=engine, model_dir="/models/abc")).argv
        assert adapter.stage_of(f"{base.STAGE_MARK}loading") is Stage.LOADING
        attempts = [Attempt(engine=engine, model_dir=folder) for folder in ("/models/abc", "/models/def")]
        assert len({adapter.identity(attempt) for attempt in attempts}) == 2


def test_adapters_make_room_and_close_the_routes_to_others() -> None:
    lora = LoraConfig(list="uid", max_rank=128, max_active=2)
    flags = vllm_args.command(config(lora=lora), Attempt(engine=Engine.VLLM, model_dir="/models/abc"), HOST)
    assert {"--enable-lora", "--max-lora-rank=128", "--max-loras=2"} < set(flags.argv)
    assert "--middleware=dormouse_runtime.engines.guard.LocalOnly" in flags.argv
    assert flags.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    without = vllm_args.command(config(), Attempt(engine=Engine.VLLM, model_dir="/models/abc"), HOST)
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in without.env


@pytest.mark.parametrize(
    ("method", "draft", "expected"),
    [
        ("ngram", None, {"method": "ngram", "prompt_lookup_min": 2, "prompt_lookup_max": 5}),
        ("draft", "/models/small", {"method": "draft_model", "model": "/models/small"}),
    ],
)
def test_guessing_is_told_in_vllms_words(method: str, draft: str | None, expected: dict[str, object]) -> None:
    told = SpeculativeConfig(method=Method(method), tokens=3, prompt_lookup_min=2, prompt_lookup_max=5, draft_dir=draft)
    argv = vllm_args.command(config(speculative=told), Attempt(engine=Engine.VLLM, model_dir="/models/abc"), HOST).argv
    (flag,) = [flag for flag in argv if flag.startswith("--speculative-config=")]
    assert json.loads(flag.partition("=")[2]) == {"num_speculative_tokens": 3, **expected}
