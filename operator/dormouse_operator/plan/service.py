"""The headless Service whose EndpointSlices tell routers where the model runs."""

from dormouse_api import names
from dormouse_operator.observed import Model
from dormouse_operator.plan.common import Object, metadata
from dormouse_operator.plan.runtime import selector

LABEL_NOBODY = f"{names.GROUP}/turned-out"
"""A label that no pod has."""


def service(model: Model, *, closed: bool = False) -> Object:
    """Headless: routers choose among pods themselves. Not-ready pods are listed too, marked so.

    `closed`: no pod is listed, so routers send no new calls; those that run are not touched.
    """
    nobody = {LABEL_NOBODY: "true"} if closed else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(model, names.runtime_name(model.name), names.COMPONENT_RUNTIME),
        "spec": {
            "clusterIP": "None",
            "selector": selector(model) | nobody,
            "ports": [
                {"name": "serving", "port": names.PORT_SERVING, "targetPort": names.PORT_SERVING, "protocol": "TCP"},
                {"name": "admin", "port": names.PORT_ADMIN, "targetPort": names.PORT_ADMIN, "protocol": "TCP"},
            ],
        },
    }
