"""InferenceModels as the API server would send them, for tests of the dialects."""

from typing import Any

from dormouse_router.catalog.record import Record, record_from

CREATED = "2026-05-01T10:00:00Z"
PULLED_AT = "2026-05-01T10:02:00Z"


def condition(kind: str, status: str, reason: str, message: str = "a message") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": PULLED_AT,
    }


ASLEEP = (condition("Ready", "True", "ScaledToZero"), condition("ModelPulled", "True", "Pulled"))


def known_status(**more: Any) -> dict[str, Any]:
    """The status of a pulled llama that knows tools and sleeps."""
    return {
        "conditions": list(ASLEEP),
        "commit": "0" * 40,
        "bytes": 4_500_000,
        "architecture": "LlamaForCausalLM",
        "parameters": 1_100_000,
        "contextLength": 2048,
        "capabilities": ["completion", "tools"],
        "quantization": "none",
        "inspected": {"key": "k", "dtype": "bfloat16", "modelType": "llama", "embeddingLength": 128},
        "device": "cpu",
        **more,
    }


def model(
    name: str = "tiny-chat",
    *,
    status: dict[str, Any] | None = None,
    created: str = CREATED,
    namespace: str = "default",
    **spec: Any,
) -> dict[str, Any]:
    """An InferenceModel; `spec` overrides, with camelCase keys."""
    return {
        "apiVersion": "dormouse.dev/v1alpha1",
        "kind": "InferenceModel",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{name}",
            "creationTimestamp": created,
            "resourceVersion": "7",
            "generation": 1,
        },
        "spec": {"source": {"uri": f"hf://dormouse/{name}"}, **spec},
        "status": known_status() if status is None else status,
    }


def record(name: str = "tiny-chat", **more: Any) -> Record:
    return record_from(model(name, **more))


def with_capabilities(*capabilities: str, **more: Any) -> Record:
    return record(status=known_status(capabilities=list(capabilities)), **more)
