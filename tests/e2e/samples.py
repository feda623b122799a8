"""What stories put into the cluster and onto the hub: models, the scripted profile, repositories of any size. Pure."""

import json
import random
import struct
from typing import Any

from dormouse_api.names import API_VERSION

SCRIPTED = "scripted"
SCRIPTED_IMAGE = "localhost/dormouse-scripted:dev"
FRANCE = "What is the capital of France?"
PARIS = "Paris."
MIB = 1024 * 1024


def model(name: str, repo: str, **spec: Any) -> dict[str, Any]:
    """An InferenceModel on the scripted profile; `spec` overrides whole fields."""
    wanted: dict[str, Any] = {"source": {"uri": f"hf://{repo}"}, "profile": SCRIPTED, "quantization": "none"}
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceModel",
        "metadata": {"name": name},
        "spec": {**wanted, **spec},
    }


def scripted_profile() -> dict[str, Any]:
    """The RuntimeProfile whose engine starts at once."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RuntimeProfile",
        "metadata": {"name": SCRIPTED},
        "spec": {
            "image": SCRIPTED_IMAGE,
            "device": "cpu",
            "kvCacheMemory": "64Mi",
            "sharedMemory": "16Mi",
            "startSeconds": 60,
            "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        },
    }


def repository(size: int = 64 * 1024, seed: int = 0, script: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Files of a repository whose weights hold `size` bytes of noise in a valid safetensors file.

    `script` is what the scripted engine plays once it is pulled.
    """
    words = size // 4
    header = json.dumps({"weight": {"dtype": "F32", "shape": [words], "data_offsets": [0, words * 4]}}).encode()
    noise = random.Random(seed).randbytes(words * 4)  # noqa: S311 - weights, not secrets
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "max_position_embeddings": 512,
        "torch_dtype": "float32",
    }
    return {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": struct.pack("<Q", len(header)) + header + noise,
        "tokenizer.json": b"{}",
        "script.json": json.dumps(script or {}).encode(),
    }
