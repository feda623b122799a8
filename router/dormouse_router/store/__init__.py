"""What is kept between requests. `keeping` has the protocols, this folder fulfils them, and `open_store` chooses.

Alone in the router to import SQLAlchemy, Alembic, the databases' drivers and the client of Redis.
"""

from dormouse_router.store.opening import open_counts as open_counts
from dormouse_router.store.opening import open_store as open_store
