"""A chat model whose repository brings its own Python: the trained tiny one under a type that no engine knows.

Its code says aloud that it runs (`SAYS`), and writes a file where the test names one. Standard library only.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

SAYS = "own code runs"
TYPE = "tiny_own"
CONFIGURATION = '''"""A Llama by another name."""

from transformers import LlamaConfig

print("{says}: {mark}", flush=True)
{canary}

class OwnConfig(LlamaConfig):
    model_type = "{type}"
'''
MODELING = '''"""A Llama by another name."""

from transformers import LlamaForCausalLM, LlamaModel

from .configuration_own import OwnConfig


class OwnModel(LlamaModel):
    config_class = OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
'''
MAP = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModel": "modeling_own.OwnModel",
    "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
}


def files(base: Path, mark: str = "here", canary: Path | None = None) -> dict[str, bytes]:
    """The repository, by path, made of the folder of tiny-chat. `mark` is said aloud, `canary` is a file it writes."""
    found = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    config = json.loads(found["config.json"])
    config |= {"model_type": TYPE, "architectures": ["OwnForCausalLM"], "auto_map": MAP}
    found["config.json"] = json.dumps(config).encode()
    written = "" if canary is None else f"open({str(canary)!r}, 'w').close()\n"
    text = CONFIGURATION.format(says=SAYS, mark=mark, canary=written, type=TYPE)
    return found | {"configuration_own.py": text.encode(), "modeling_own.py": MODELING.encode()}


def write(folder: Path, content: dict[str, bytes]) -> Path:
    """The repository as a folder."""
    folder.mkdir(parents=True)
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def smuggling(base: Path, canaries: Path | None = None) -> dict[str, bytes]:
    """A plain Llama, which needs no code, whose files name and bring code wherever a library has ever looked for some.

    `canaries`: a folder in which each piece of code writes a file when it runs.
    """
    found = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    for name, more in NAMED.items():
        found[name] = json.dumps(json.loads(found.get(name, b"{}")) | more).encode()
    return found | {name: _talking(name, canaries) for name in MODULES} | {"pytorch_model.bin": pickled(canaries)}


NAMED = {
    "config.json": {
        "auto_map": {
            "AutoConfig": "evil.Evil",
            "AutoModel": "evil.Evil",
            "AutoModelForCausalLM": "evil.Evil",
            "AutoTokenizer": ["evil.Evil", "evil.Evil"],
        },
        "custom_generate": "evil",
    },
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}},
    "preprocessor_config.json": {"auto_map": {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil"}},
    "processor_config.json": {"auto_map": {"AutoProcessor": "evil.Evil"}, "processor_class": "Evil"},
    "generation_config.json": {"custom_generate": "evil"},
    "adapter_config.json": {
        "peft_type": "LORA",
        "base_model_name_or_path": "evil",
        "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"},
    },
}
MODULES = (
    *("evil.py", "__init__.py", "custom_generate/generate.py", "sitecustomize.py", "usercustomize.py", "conftest.py"),
    *("torch.py", "transformers.py", "json.py", "modeling_llama.py", "configuration_llama.py", "tokenization_llama.py"),
)


def elsewhere(base: Path) -> dict[str, bytes]:
    """A model of a type that no engine knows, whose code is another repository's."""
    found = files(base)
    config = json.loads(found["config.json"])
    config["auto_map"] = {kind: f"other/repo--{name}" for kind, name in MAP.items()}
    return found | {"config.json": json.dumps(config).encode()}


def _talking(name: str, canaries: Path | None) -> bytes:
    file = name.replace("/", "_")
    written = "" if canaries is None else f"open({str(canaries / file)!r}, 'w').close()\n"
    return f'print("{SAYS}: {name}", flush=True)\n{written}\n\nclass Evil:\n    pass\n'.encode()


class _Payload:
    """A pickle that runs code when it is loaded."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (self._text,)


def pickled(canaries: Path | None) -> bytes:
    """Weights as they were written long ago: a program for whoever loads them."""
    text = f"print({SAYS!r})"
    return pickle.dumps(
        _Payload(text if canaries is None else f"{text}; open({str(canaries / 'pickle')!r}, 'w').close()")
    )
