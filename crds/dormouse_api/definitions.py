"""The three CustomResourceDefinitions, as plain data ready to be written as YAML."""

from dormouse_api import names
from dormouse_api.model import NAME_RULE, InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.route import ROUTE_NAME_RULE, InferenceRouteSpec
from dormouse_api.schema import Schema, crd, structural
from dormouse_api.status import InferenceModelStatus


def _ready(field: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{field}'


def _column(name: str, path: str, kind: str = "string", **more: object) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **more}


def _object(properties: Schema, **more: object) -> Schema:
    return {"type": "object", "required": ["spec"], "properties": properties, **more}


def inference_models() -> Schema:
    """The CRD of InferenceModel (namespaced)."""
    schema = _object(
        {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(InferenceModelSpec.model_json_schema(by_alias=True)),
            "status": structural(InferenceModelStatus.model_json_schema(by_alias=True)),
        },
        description="A language model to serve: which weights, and how. It sleeps until somebody calls it.",
        **NAME_RULE,
    )
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.scaling.minReplicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Model", ".spec.source.uri"),
            _column("Ready", _ready("status")),
            _column("Reason", _ready("reason")),
            _column("Progress", ".status.progress"),
            _column("Replicas", ".status.replicas", "integer"),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Engine", ".status.engine.name", priority=1),
            _column("Quantization", ".status.quantization", priority=1),
            _column("Commit", ".status.commit", priority=1),
            _column("Message", _ready("message"), priority=1),
        ],
        "selectableFields": [{"jsonPath": ".spec.source.uri"}],
    }
    return crd(names.MODEL_KIND, names.MODEL_PLURAL, names.GROUP, version, categories=[names.CATEGORY])


def runtime_profiles() -> Schema:
    """The CRD of RuntimeProfile (cluster-scoped)."""
    schema = _object(
        {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(RuntimeProfileSpec.model_json_schema(by_alias=True)),
        },
        description="What models may run on: image, resources, devices, nodes. Owned by the administrator.",
    )
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            _column("Device", ".spec.device"),
            _column("Image", ".spec.image"),
            _column("KV memory", ".spec.kvCacheMemory"),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
    }
    return crd(
        names.PROFILE_KIND, names.PROFILE_PLURAL, names.GROUP, version, scope="Cluster", categories=[names.CATEGORY]
    )


def inference_routes() -> Schema:
    """The CRD of InferenceRoute (namespaced). No status subresource: nobody would write it."""
    schema = _object(
        {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(InferenceRouteSpec.model_json_schema(by_alias=True)),
        },
        description="A name that clients call, and the models that answer under it: by weight, with defaults.",
        **ROUTE_NAME_RULE,
    )
    version = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "additionalPrinterColumns": [
            _column("Variants", ".spec.variants"),  # whole, as JSON: of a path with [*] only the first would be shown
            _column("Sticky", ".spec.sticky.by"),
            _column("Age", ".metadata.creationTimestamp", "date"),
            _column("Aliases", ".spec.aliases", priority=1),
            _column("Fallback", ".spec.fallback", priority=1),
        ],
    }
    return crd(names.ROUTE_KIND, names.ROUTE_PLURAL, names.GROUP, version, categories=[names.CATEGORY])
