"""What of Ollama's API the application mounts."""

import time

from dormouse_router.dialects.ollama.create import Creating
from dormouse_router.dialects.ollama.embedding import Embedding
from dormouse_router.dialects.ollama.errors import refuse
from dormouse_router.dialects.ollama.pull import Pulling
from dormouse_router.dialects.ollama.reads import Reading
from dormouse_router.dialects.ollama.serve import Serving
from dormouse_router.dialects.timed import Clock
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Dialect


def dialect(gateway: Gateway, store: ModelStore) -> Dialect:
    """Ollama's API over `gateway`."""
    clock = Clock(wall=time.time, steady=time.monotonic)
    serving, reading, creating = Serving(gateway, clock), Reading(gateway, store, clock), Creating(gateway, store)
    embedding = Embedding(gateway, clock)
    posts = {
        "/api/chat": serving.chat,
        "/api/generate": serving.generate,
        "/api/embed": embedding.embed,
        "/api/embeddings": embedding.embeddings,
        "/api/show": reading.show,
        "/api/pull": Pulling(gateway, store).pull,
        "/api/create": creating.create,
        "/api/copy": creating.copy,
    }
    return Dialect(prefix="/api", refuse=refuse, posts=posts, router=reading.routes())
