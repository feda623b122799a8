"""What the engines load without a repository's own code: names read from the installed transformers and vLLM.

`python -m dev.native` writes runtime/dormouse_runtime/pull/native.json with the engine's Python; do it after an upgrade
of the engine's pins (tests/runtime/engine/test_native.py compares).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dev import enginevenv

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "runtime" / "dormouse_runtime" / "pull" / "native.json"


def text() -> str:
    """The file as the installed engines make it."""
    command = [str(enginevenv.python()), str(Path(__file__).resolve()), "inside"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise enginevenv.EngineError(f"the engines' names cannot be read:\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1] + "\n"


def inside() -> str:
    """Runs in the engine's Python."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES, TOKENIZER_MAPPING_NAMES
    from vllm import ModelRegistry
    from vllm.transformers_utils.config import _ARCHITECTURE_TO_MODEL_TYPE, _CONFIG_REGISTRY

    mappings = [
        value for name, value in vars(modeling_auto).items() if name.startswith("MODEL_") and name.endswith("_NAMES")
    ]
    classes = [name for mapping in mappings for name in mapping.values()]
    flat = [name for each in classes for name in ([each] if isinstance(each, str) else each)]
    tokenizers = {str(name).removesuffix("Fast") for name in TOKENIZER_MAPPING_NAMES.values() if name}
    generic = {"PreTrainedTokenizer", "TokenizersBackend", "PythonBackend", *REGISTERED_TOKENIZER_CLASSES}
    names = {
        "model_types": {*CONFIG_MAPPING_NAMES, *_CONFIG_REGISTRY},
        "architectures": {*flat, *ModelRegistry.get_supported_archs(), *_ARCHITECTURE_TO_MODEL_TYPE},
        "tokenizers": {name.removesuffix("Fast") for name in tokenizers | generic},
        "tokenizer_types": {name for name, value in TOKENIZER_MAPPING_NAMES.items() if value},
    }
    return json.dumps({key: sorted(value) for key, value in names.items()}, separators=(",", ":"))


if __name__ == "__main__":
    if sys.argv[1:] == ["inside"]:
        sys.stdout.write(f"\n{inside()}\n")
    else:
        OUT.write_text(text())
