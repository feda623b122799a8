"""An adapter's pull: what is fetched, what is refused before a byte of weights comes, and the list of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.adapters import ADAPTERS_DIR, AdapterEntry, AdapterList
from dormouse_api.conditions import Reason
from dormouse_api.results import BindResult
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.lora import shape
from tests.runtime.pull.harness import Puller, safetensors, said

LORA = {"peft_type": "LORA", "r": 8, "target_modules": ["v_proj", "q_proj"], "base_model_name_or_path": "acme/tiny"}
FILES = {
    "adapter_config.json": json.dumps(LORA).encode(),
    "adapter_model.safetensors": safetensors({"a": ("F32", [8, 4])}),
    "checkpoint-10/adapter_model.safetensors": b"of its training",
    "model.safetensors": b"merged",
    "README.md": b"# mine",
}


def entry(name: str, commit: str) -> AdapterEntry:
    return AdapterEntry(name=name, commit=commit)


def bound(puller: Puller, *entries: AdapterEntry, uid: str = "uid-1", drop: str = "") -> BindResult:
    wanted = AdapterList(adapters=entries).model_dump_json()
    ended = puller.run("bind", DORMOUSE_LIST=uid, DORMOUSE_ADAPTERS=wanted, DORMOUSE_DROP=drop)
    assert ended.outcome.bind is not None, ended.outcome
    return ended.outcome.bind


def listed(puller: Puller, uid: str = "uid-1") -> AdapterList:
    return AdapterList.model_validate_json((puller.models / ADAPTERS_DIR / f"{uid}.json").read_text())


def pulled(puller: Puller, name: str) -> str:
    """Publish an adapter and pull it; its commit."""
    files = {**FILES, "adapter_model.safetensors": safetensors({name: ("F32", [8, 4])})}
    puller.hub.publish(f"acme/{name}", files)
    result = puller.run("adapter", DORMOUSE_SOURCE=f"hf://acme/{name}").outcome.adapter
    assert result is not None
    return result.pull.commit


def folders(puller: Puller) -> set[str]:
    return {path.name for path in (puller.models / ADAPTERS_DIR).iterdir() if path.is_dir()}


def test_the_two_files_come_and_the_shape_is_told(puller: Puller) -> None:
    commit = puller.hub.publish("acme/tiny", FILES)
    result = puller.run("adapter").outcome.adapter
    assert result is not None
    assert (result.rank, result.base, result.targets) == (8, "acme/tiny", ("q_proj", "v_proj"))
    assert (result.pull.commit, result.pull.files) == (commit, 2)
    folder = puller.models / ADAPTERS_DIR / commit
    assert {path.name for path in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        ".dormouse.json",
    }
    again = puller.run("adapter").outcome.adapter
    assert again is not None
    assert again.pull.fetched_bytes == 0


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "peft_type is PREFIX_TUNING"),
        ({"peft_type": None}, "peft_type is NONE"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head", "score"]}, "modules_to_save lm_head)"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
        ({"r": 0}, "no number above 0"),
        ({"r": "8"}, "no number above 0"),
        ({"r": True}, "no number above 0"),
        ({"r": 1024}, "takes 512 at most"),
    ],
)
def test_what_vllm_would_refuse_is_refused_before_it_is_fetched(
    puller: Puller, changed: dict[str, Any], words: str
) -> None:
    puller.hub.publish("acme/tiny", {**FILES, "adapter_config.json": json.dumps(LORA | changed).encode()})
    ended = puller.run("adapter")
    assert (ended.code, ended.reason) == (42, Reason.UNSUPPORTED)
    assert words in said(ended)
    assert not any("adapter_model" in request["path"] for request in puller.hub.log())


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("model.safetensors",), "a model is named in spec.source"),
        (("adapter_config.json",), "no adapter_model.safetensors"),
        (("adapter_model.safetensors",), "no adapter_config.json"),
    ],
)
def test_a_repository_without_an_adapter_says_what_it_lacks(puller: Puller, files: tuple[str, ...], words: str) -> None:
    puller.hub.publish("acme/tiny", {name: FILES[name] for name in files})
    ended = puller.run("adapter")
    assert (ended.code, ended.reason) == (42, Reason.UNSUPPORTED)
    assert words in said(ended)


def test_pickled_weights_are_never_fetched(puller: Puller) -> None:
    puller.hub.publish("acme/tiny", {"adapter_config.json": FILES["adapter_config.json"], "adapter_model.bin": b"x"})
    ended = puller.run("adapter")
    assert "safetensors" in said(ended)
    assert ended.reason == Reason.UNSUPPORTED


def test_ranks_of_single_layers_count() -> None:
    assert shape(LORA | {"rank_pattern": {"q_proj": 32}}).rank == 32
    with pytest.raises(PullError):
        shape(LORA | {"rank_pattern": {"q_proj": "32"}})


def test_the_list_names_what_is_there_and_old_adapters_go(puller: Puller) -> None:
    one, two, three = pulled(puller, "one"), pulled(puller, "two"), pulled(puller, "three")
    assert bound(puller, entry("a", one), entry("b", two)) == BindResult(adapters=2)
    assert listed(puller).adapters == (entry("a", one), entry("b", two))
    assert bound(puller, entry("a", one), drop=three) == BindResult(adapters=1, removed=tuple(sorted((two, three))))
    assert folders(puller) == {one}
    assert listed(puller).adapters == (entry("a", one),)


def test_what_another_model_lists_stays(puller: Puller) -> None:
    one = pulled(puller, "one")
    bound(puller, entry("a", one), uid="uid-1")
    bound(puller, entry("x", one), uid="uid-2")
    assert bound(puller, uid="uid-1").removed == ()
    assert folders(puller) == {one}
    assert bound(puller, uid="uid-2").removed == (one,)


def test_an_adapter_that_is_not_whole_is_left_out_and_told_of(puller: Puller) -> None:
    one = pulled(puller, "one")
    (puller.models / ADAPTERS_DIR / one / "adapter_model.safetensors").unlink()
    assert bound(puller, entry("a", one), entry("b", "f" * 40)) == BindResult(adapters=0, missing=(one, "f" * 40))
    assert listed(puller).adapters == ()


@pytest.mark.parametrize("uid", ["", "../../etc/passwd", "a" * 65])
def test_a_list_without_a_proper_name_is_refused(puller: Puller, uid: str) -> None:
    ended = puller.run("bind", DORMOUSE_LIST=uid, DORMOUSE_ADAPTERS="{}")
    assert (ended.code, ended.reason) == (42, Reason.UNSUPPORTED)
    assert not Path(puller.models / ADAPTERS_DIR).exists()


def test_a_sweep_leaves_adapters_alone(puller: Puller) -> None:
    one = pulled(puller, "one")
    (puller.models / "old").mkdir()
    assert puller.run("sweep", DORMOUSE_KEEP="kept").code == 0
    assert folders(puller) == {one}
    assert not (puller.models / "old").exists()
