"""What is owed to receivers of webhooks, written within the transaction that it tells of: both happen, or neither.

`announce` is for whoever ends a batch or a response; predictions `post` what their own receivers are told.
"""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.notifying import PASSING, Delivery, Event
from dormouse_router.store.tables import webhook_deliveries, webhook_events
from dormouse_router.store.upsert import upsert

_OWED = webhook_deliveries.c


async def announce(connection: AsyncConnection, event: Event) -> None:
    """The operator's endpoints will be told, if the transaction of `connection` is committed.

    `Event("batch.completed", batch.id, now)`: the row costs next to nothing where there is no endpoint.
    """
    values = asdict(event) | {"id": event.id}
    await connection.execute(upsert(connection, webhook_events, values, {"kind": event.kind}))


async def post(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> None:
    """As `notifying.Webhooks.post`."""
    if not deliveries:
        return
    subjects = {delivery.subject for delivery in deliveries}
    passing = (_OWED.subject.in_(subjects), _OWED.kind.in_(PASSING), _OWED.attempts == 0)
    await connection.execute(delete(webhook_deliveries).where(*passing))
    await connection.execute(webhook_deliveries.insert(), [asdict(delivery) for delivery in deliveries])
