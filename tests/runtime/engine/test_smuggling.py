"""Code in a model's folder runs only with permission, however its files ask for it. What runs leaves a file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.models import owncode
from dormouse_api.runtime import Stage
from tests.runtime.engine import broken
from tests.runtime.engine.conftest import CODE, COMMIT, Quantize, Serve, ask, ready, words

pytestmark = pytest.mark.engine

PARIS, FRANCE = "Paris.", "What is the capital of France?"


@pytest.fixture
def canaries(tmp_path: Path) -> Path:
    """The folder in which code that runs leaves a file."""
    folder = tmp_path / "model" / "canaries"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def smuggler(tmp_path: Path, models: Path, canaries: Path) -> Path:
    return owncode.write(tmp_path / "model" / "smuggler", owncode.smuggling(models / "tiny-chat", canaries))


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_nothing_runs_while_an_engine_loads_warms_and_answers(
    serve: Serve, smuggler: Path, canaries: Path, engine: str
) -> None:
    pod = serve((engine, smuggler, "none"))
    assert ready(pod)
    assert words(ask(pod, FRANCE)) == PARIS
    assert Stage.LOADING in [entry.stage for entry in pod.state().timeline]
    assert owncode.SAYS not in pod.log()
    assert not list(canaries.iterdir())


def test_nothing_runs_while_a_copy_is_made(quantize: Quantize, volume: Path, smuggler: Path, canaries: Path) -> None:
    kept = (volume / COMMIT).resolve()
    (volume / COMMIT).unlink()
    (volume / COMMIT).symlink_to(smuggler)
    try:
        made = quantize("nf4"), quantize("int8")
    finally:
        (volume / COMMIT).unlink()
        (volume / COMMIT).symlink_to(kept)
    assert [each.failure for each in made] == [None, None]
    assert not list(canaries.iterdir())


ESCAPES = (
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__.__builtins__.open('CANARY', 'w') }}",
    "{{ raise_exception.__globals__['__builtins__']['open']('CANARY', 'w') }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ strftime_now.__globals__ }}",
)


def test_a_template_does_not_leave_its_sandbox(serve: Serve, models: Path, tmp_path: Path, canaries: Path) -> None:
    """Each escape is a chat that is refused, on both engines; what needs no template is answered."""
    for engine in ("transformers", "vllm"):
        weights = broken.copy(models / "tiny-chat", tmp_path / engine)
        texts = [text.replace("CANARY", str(canaries / str(n))) for n, text in enumerate(ESCAPES)]
        branches = "".join(
            f"{{% {'elif' if n else 'if'} messages[0].content == '{n}' %}}{text}" for n, text in enumerate(texts)
        )
        (weights / "chat_template.jinja").write_text(f"{branches}{{% endif %}}")
        pod = serve((engine, weights, "none"))
        assert ready(pod)
        for n in range(len(ESCAPES)):
            answer = ask(pod, str(n))
            told = json.dumps(answer)
            assert "error" in answer or "subprocess" not in told, (engine, ESCAPES[n], told[:300])
        assert not list(canaries.iterdir())
        plain = pod.post("/v1/completions", {"model": "tiny", "prompt": "The capital of France is", "max_tokens": 3})
        assert "choices" in plain, plain


def unknown(folder: Path, **more: object) -> None:
    broken.config(folder, model_type="tiny_own", architectures=["OwnForCausalLM"], auto_map=owncode.MAP, **more)


def pickle_by_index(folder: Path) -> None:
    """An index that names a pickle, which only a careless loader opens."""
    header = folder / "model.safetensors"
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"x": "pytorch_model.bin"}}')
    header.unlink()


def pickle_alone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


FORMS: dict[str, Callable[[Path], object]] = {
    "type": unknown,
    "nested": lambda folder: broken.config(
        folder,
        model_type="llava",
        architectures=["LlavaForConditionalGeneration"],
        text_config={"model_type": "tiny_own", "auto_map": owncode.MAP},
        vision_config={"model_type": "tiny_own", "auto_map": owncode.MAP},
    ),
    "quantizer": lambda folder: broken.config(
        folder, quantization_config={"quant_method": "evil.Evil", "auto_map": owncode.MAP, "quant_type": "evil.Evil"}
    ),
    "torchao": lambda folder: broken.config(
        folder, quantization_config={"quant_method": "torchao", "quant_type": {"default": {"_type": "evil.Evil"}}}
    ),
    "kernel": lambda folder: broken.config(
        folder, attn_implementation="evil/kernel", _attn_implementation="evil/kernel"
    ),
    "tokenizer": lambda folder: (folder / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "evil.Evil"})
    ),
    "elsewhere": lambda folder: broken.config(
        folder, model_type="tiny_own", auto_map={"AutoConfig": "../own--configuration_own.OwnConfig"}
    ),
    "outside": lambda folder: broken.config(
        folder, model_type="tiny_own", auto_map={"AutoConfig": "../own/configuration_own.OwnConfig"}
    ),
    "pickle-by-index": pickle_by_index,
    "pickle-alone": pickle_alone,
}


def test_no_form_of_asking_is_obeyed(python: str, models: Path, canaries: Path) -> None:
    """In one process: both engines' loaders on each folder; then one that has permission, so that silence tells."""
    root = canaries.parent
    base = owncode.smuggling(models / "tiny-chat", canaries)
    own = owncode.files(models / "tiny-chat", canary=canaries / "own")
    for name, form in FORMS.items():
        form(owncode.write(root / name, own | base))
    owncode.write(root / "own", own)
    script = str(Path(__file__).with_name("smuggled.py"))
    env = {**os.environ, **CODE, "HF_HUB_OFFLINE": "1", "HF_HOME": str(root.parent / "hf")}
    done = subprocess.run(
        [python, "-P", script, str(root)], env=env, capture_output=True, text=True, timeout=800, check=False
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")] or [done.stderr[-3000:]]
    told = json.loads(line.removeprefix("ANSWERS "))
    assert told["silent"] == [], told["found"]
    assert "custom code" in told["found"]["type"][0]
    assert told["found"]["pickle-alone"][0] != "loaded"
    assert told["allowed"] == ["loaded", "loaded"]
    assert told["heard"] == ["own"]


def test_with_permission_the_code_of_the_folder_serves(serve: Serve, models: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    weights = owncode.write(tmp_path / "own", owncode.files(models / "tiny-chat", canary=canary))
    pod = serve(("vllm", weights, "none"), ("transformers", weights, "none"), remote_code=True)
    assert ready(pod)
    assert words(ask(pod, FRANCE)) == PARIS
    assert canary.exists()
    assert pod.state().engine == "vllm", pod.state().passed
