"""The tables, a module for each group, all of one `metadata`. A new group is a module here and a migration."""

from dormouse_router.store.tables.base import metadata as metadata
from dormouse_router.store.tables.responses import responses as responses
from dormouse_router.store.tables.sessions import messages as messages
from dormouse_router.store.tables.sessions import sessions as sessions
