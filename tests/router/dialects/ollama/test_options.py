"""Options: Ollama's defaults sent, the request above them, the wrong type refused, the rest ignored."""

import pytest
from structlog.testing import capture_logs

from dormouse_router.dialects.ollama import options as module
from dormouse_router.dialects.ollama.options import DEFAULTS, sampling
from dormouse_router.request import Refusal


def test_the_defaults_are_sent_explicitly() -> None:
    assert sampling(None, None).parameters == {
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": None}, {}),
        ({"top_k": 5.0, "top_p": 1, "min_p": 0.05}, {"top_k": 5, "top_p": 1.0, "min_p": 0.05}),
        ({"repeat_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"presence_penalty": 0.5, "frequency_penalty": -0.5}, {"presence_penalty": 0.5, "frequency_penalty": -0.5}),
        ({"temperature": -1, "top_p": 0, "top_k": -1, "min_p": -1}, {"temperature": 0.0, "top_p": 1e-6, "top_k": 0}),
        ({"top_p": 2, "repeat_penalty": 0, "presence_penalty": 9}, {"top_p": 1.0, "presence_penalty": 2.0}),
        ({"seed": 42}, {"seed": 42}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": -1}, {}),
        ({"stop": ["\n", "END"]}, {"stop": ["\n", "END"]}),
        ({"stop": []}, {}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ""}, {}),
        ({"num_predict": 7}, {"max_tokens": 7}),
        ({"num_predict": -1}, {}),
        ({"num_predict": -2}, {}),
        ({"num_predict": 100_000}, {"max_tokens": 2048}),
        ({"num_ctx": 4096, "num_gpu": 1, "num_thread": 8, "use_mmap": True, "typical_p": 0.9}, {}),
        ({"mirostat": "old", "tfs_z": [], "numa": 3, "penalize_newline": None}, {}),
        ({"no_such_option": {"a": 1}}, {}),
    ],
)
def test_the_request_stands_above_the_defaults(options: dict[str, object], changed: dict[str, object]) -> None:
    assert sampling(options, 2048).parameters == {**DEFAULTS, **changed}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"top_k": "40"}, 'option "top_k" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": 7}, 'option "stop" must be of type array of strings'),
        ({"stop": [1]}, 'option "stop" must be of type array of strings'),
    ],
)
def test_the_wrong_type_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        sampling(options, None)
    assert (refused.value.status, refused.value.message) == (400, words)


def test_num_predict_zero_evaluates_the_prompt_only() -> None:
    found = sampling({"num_predict": 0}, 2048)
    assert found.prompt_only
    assert found.parameters["max_tokens"] == 1


def test_an_unknown_option_is_logged_once_and_never_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_told", set())
    with capture_logs() as said:
        for _ in range(3):
            sampling({"frobnicate": 1, "mirostat": 2, "num_thread": 3}, None)
    assert [(line["event"], line["option"]) for line in said] == [("unknown option ignored", "frobnicate")]
    with capture_logs() as said:
        sampling({f"x{number}": 1 for number in range(500)}, None)
    assert len(said) < 100
