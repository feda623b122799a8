"""A worker whose leases are short, so that the work of one that was killed is soon taken up: `python -m ...hasty`."""

import sys

from dormouse_router.worker import crew, desk, process

for module, name, seconds in (
    (desk, "LEASE_SECONDS", 4.0),
    (crew, "LEASE_SECONDS", 4.0),
    (crew, "BEAT_SECONDS", 1.0),
    (desk, "FLUSH_SECONDS", 1.0),
):
    assert hasattr(module, name)
    setattr(module, name, seconds)

if __name__ == "__main__":
    sys.exit(process.main())
