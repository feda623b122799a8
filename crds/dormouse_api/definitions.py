"""The three CustomResourceDefinitions, as plain data ready to be written as YAML."""

from dormouse_api import names
from dormouse_api.base import ApiObject
from dormouse_api.model import NAME_RULE, InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.route import ROUTE_NAME_RULE, InferenceRouteSpec
from dormouse_api.schema import Schema, crd, structural
from dormouse_api.status import InferenceModelStatus


def _ready(field: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{field}'


def _column(name: str, path: str, kind: str = "string", **more: object) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **more}


def _object(spec: type[ApiObject], status: type[ApiObject] | None = None, **more: object) -> Schema:
    """The schema of a kind, from the types of its spec and, where somebody writes one, its status."""
    parts = {"spec": spec} if status is None else {"spec": spec, "status": status}
    properties: Schema = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    properties |= {name: structural(part.model_json_schema(by_alias=True)) for name, part in parts.items()}
    return {"type": "object", "required": ["spec"], "properties": properties, **more}


def _version(schema: Schema, *columns: Schema, **more: object) -> Schema:
    """The one version that is served and stored."""
    served = {"name": names.VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {**served, **more, "additionalPrinterColumns": list(columns)}


def inference_models() -> Schema:
    """The CRD of InferenceModel (namespaced)."""
    schema = _object(
        InferenceModelSpec,
        InferenceModelStatus,
        description="A language model to serve: which weights, and how. It sleeps until somebody calls it.",
        **NAME_RULE,
    )
    scale = {
        "specReplicasPath": ".spec.scaling.minReplicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = _version(
        schema,
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
        subresources={"status": {}, "scale": scale},
        selectableFields=[{"jsonPath": ".spec.source.uri"}],
    )
    return crd(names.MODEL_KIND, names.MODEL_PLURAL, names.GROUP, version, categories=[names.CATEGORY])


def runtime_profiles() -> Schema:
    """The CRD of RuntimeProfile (cluster-scoped)."""
    schema = _object(
        RuntimeProfileSpec,
        description="What models may run on: image, resources, devices, nodes. Owned by the administrator.",
    )
    version = _version(
        schema,
        _column("Device", ".spec.device"),
        _column("Image", ".spec.image"),
        _column("KV memory", ".spec.kvCacheMemory"),
        _column("Age", ".metadata.creationTimestamp", "date"),
    )
    return crd(
        names.PROFILE_KIND, names.PROFILE_PLURAL, names.GROUP, version, scope="Cluster", categories=[names.CATEGORY]
    )


def inference_routes() -> Schema:
    """The CRD of InferenceRoute (namespaced). No status subresource: nobody would write it."""
    schema = _object(
        InferenceRouteSpec,
        description="A name that clients call, and the models that answer under it: by weight, with defaults.",
        **ROUTE_NAME_RULE,
    )
    version = _version(
        schema,
        _column("Variants", ".spec.variants"),  # whole, as JSON: of a path with [*] only the first would be shown
        _column("Sticky", ".spec.sticky.by"),
        _column("Age", ".metadata.creationTimestamp", "date"),
        _column("Aliases", ".spec.aliases", priority=1),
        _column("Fallback", ".spec.fallback", priority=1),
    )
    return crd(names.ROUTE_KIND, names.ROUTE_PLURAL, names.GROUP, version, categories=[names.CATEGORY])
