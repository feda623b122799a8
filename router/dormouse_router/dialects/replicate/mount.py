"""What of predictions the application mounts."""

from fastapi import APIRouter

from dormouse_router.dialects.replicate import objects, routes
from dormouse_router.dialects.replicate.desk import Desk
from dormouse_router.dialects.replicate.errors import refuse
from dormouse_router.dialects.replicate.making import Maker
from dormouse_router.dialects.replicate.serve import AFTER, DEPLOYMENTS, MODELS, Creating
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import Keeping
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings
from dormouse_router.webhooks.receivers import Receivers


def dialects(gateway: Gateway, settings: Settings, keeping: Keeping) -> list[Dialect]:
    """Predictions over `gateway`; what is to be kept is in `keeping`."""
    desk = Desk(Maker(gateway, keeping.files, settings), keeping.predictions, settings)
    receivers = Receivers(settings.webhooks_allowed, settings.webhook_ports)
    creating = Creating(gateway, desk, receivers, settings)
    named = {(MODELS, AFTER): creating.of_model, (DEPLOYMENTS, AFTER): creating.of_deployment}
    return [
        Dialect(
            prefix=objects.PATH,
            refuse=refuse,
            posts={objects.PATH: creating.create},
            router=routes.predictions(keeping, desk, settings),
            drain=desk.drain,
            tend=desk.run,
        ),
        Dialect("/v1/deployments", refuse, {}, APIRouter(), named=named),
        Dialect("/v1/webhooks", refuse, {}, routes.secrets(keeping)),
    ]
