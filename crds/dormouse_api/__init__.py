"""The API of Dormouse: what the operator, the router, the runtime and the user agree on.

Owns the names, the specs, the conditions, the lease arithmetic and the messages that pass between the parts.
Imports pydantic and the standard library only, and knows nothing of how any part does its work.
"""

__version__ = "0.1.0"
"""Version of all of Dormouse. Stated here because the images hold our packages without their distribution metadata."""
