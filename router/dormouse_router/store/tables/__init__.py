"""The tables, a module for each group, all of one `metadata`. A new group is a module here and a migration."""

from dormouse_router.store.tables.accounts import api_keys as api_keys
from dormouse_router.store.tables.accounts import signing_keys as signing_keys
from dormouse_router.store.tables.accounts import users as users
from dormouse_router.store.tables.base import metadata as metadata
from dormouse_router.store.tables.batches import batch_chunks as batch_chunks
from dormouse_router.store.tables.batches import batch_segments as batch_segments
from dormouse_router.store.tables.batches import batch_workers as batch_workers
from dormouse_router.store.tables.batches import batches as batches
from dormouse_router.store.tables.files import OWN_SWEEP as OWN_SWEEP
from dormouse_router.store.tables.files import file_pins as file_pins
from dormouse_router.store.tables.files import files as files
from dormouse_router.store.tables.files import upload_parts as upload_parts
from dormouse_router.store.tables.files import uploads as uploads
from dormouse_router.store.tables.predictions import predictions as predictions
from dormouse_router.store.tables.responses import responses as responses
from dormouse_router.store.tables.sessions import messages as messages
from dormouse_router.store.tables.sessions import sessions as sessions
from dormouse_router.store.tables.usage import usage as usage
from dormouse_router.store.tables.webhooks import webhook_deliveries as webhook_deliveries
from dormouse_router.store.tables.webhooks import webhook_events as webhook_events
from dormouse_router.store.tables.webhooks import webhook_secrets as webhook_secrets
