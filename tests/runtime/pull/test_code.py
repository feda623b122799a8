"""Which repositories need Python code of their own, and which only carry some."""

from __future__ import annotations

from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.code import OwnCode, own_code, pinned
from dormouse_runtime.pull.errors import PullError

FILES = {"configuration_own.py", "modeling_own.py", "tokenization_own.py"}
MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
OWN = {"model_type": "own", "architectures": ["OwnForCausalLM"], "auto_map": MAP}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
TOKENIZER = {"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}, "tokenizer_class": "OwnTokenizer"}
AWAY = {"AutoConfig": "other/repo--configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
NEEDED = OwnCode(needed=True)
NONSENSE: tuple[Any, ...] = (7, [], "x", {"AutoConfig": 5}, {"AutoModel": [None, {}]}, {"Auto": "a.B"})


@pytest.mark.parametrize(
    ("config", "tokenizer", "expected"),
    [
        pytest.param(OWN, {}, NEEDED, id="an unknown model"),
        pytest.param({"model_type": "own"}, {}, OwnCode(), id="unknown, and no code: the engine says so"),
        pytest.param(LLAMA, {}, OwnCode(), id="a known model"),
        pytest.param({**LLAMA, "auto_map": MAP}, {}, OwnCode(), id="a known model that carries code"),
        pytest.param({**LLAMA, "auto_map": AWAY}, {}, OwnCode(), id="nobody takes code that is not needed"),
        pytest.param({**OWN, "model_type": "llama"}, {}, NEEDED, id="a known configuration of an unknown model"),
        pytest.param({"model_type": "llama", "auto_map": MAP}, {}, OwnCode(), id="a known type that names no class"),
        pytest.param(
            {"model_type": "kimi_k2", "architectures": ["DeepseekV3ForCausalLM"], "auto_map": MAP},
            {},
            OwnCode(),
            id="a type that vLLM knows",
        ),
        pytest.param({"model_type": "qwen2"}, TOKENIZER, OwnCode(), id="a known model's tokenizer"),
        pytest.param({"model_type": "kimi_k2"}, TOKENIZER, NEEDED, id="an unknown tokenizer"),
        pytest.param(
            {"model_type": "kimi_k2"}, {"auto_map": ["tokenization_own.OwnTokenizer", None]}, NEEDED, id="as of old"
        ),
        pytest.param(
            {**OWN, "auto_map": AWAY}, {}, OwnCode(needed=True, elsewhere="other/repo"), id="code from elsewhere"
        ),
        pytest.param(
            {**OWN, "auto_map": {"AutoConfig": "gone.OwnConfig"}}, {}, OwnCode(True, absent="gone.py"), id="no code"
        ),
        *(
            pytest.param({**OWN, "auto_map": value}, {"auto_map": value}, OwnCode(), id=f"nonsense {value!r}")
            for value in NONSENSE
        ),
        pytest.param({"architectures": [5, None], "auto_map": MAP}, {}, NEEDED, id="names that are none"),
        pytest.param({"model_type": ["llama"], "architectures": "x", "auto_map": MAP}, {}, NEEDED, id="nor these"),
    ],
)
def test_code_is_needed_where_no_engine_knows_the_model(
    config: dict[str, Any], tokenizer: dict[str, Any], expected: OwnCode
) -> None:
    assert own_code(config, tokenizer, {}, FILES) == expected


def test_a_pipeline_of_ones_own_needs_code() -> None:
    own, plain = {"_class_name": ["pipeline", "OwnPipeline"]}, {"_class_name": "StableDiffusionPipeline"}
    assert own_code({}, {}, own, {"pipeline.py"}) == NEEDED
    assert own_code({}, {}, plain, {"pipeline.py"}) == OwnCode()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            OwnCode(True, elsewhere="other/repo"),
            "of another repository (other/repo), which is neither pulled nor pinned",
        ),
        (OwnCode(True, absent="gone.py"), "the repository has no gone.py"),
    ],
)
def test_code_that_is_not_pulled_is_refused(code: OwnCode, words: str) -> None:
    with pytest.raises(PullError) as refused:
        pinned(code)
    assert refused.value.reason is Reason.UNSUPPORTED
    assert words in str(refused.value)
    pinned(NEEDED)
