"""The Lease that routers renew. The operator owns its existence, labels and owner, never its spec."""

from dormouse_api import names
from dormouse_operator.observed import Model
from dormouse_operator.plan.common import Object, metadata


def lease(model: Model) -> Object:
    """The intent; without `spec`, so that an apply leaves a router's wish alone."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata(model, names.runtime_name(model.name), names.COMPONENT_RUNTIME),
    }
