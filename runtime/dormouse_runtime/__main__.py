"""`python3 -m dormouse_runtime serve|quantize`: what a pod's container runs first. Owns the moment before `entry`."""

import signal
import sys


def main() -> int:
    """As `entry.main`, with SIGTERM heard from the first moment on."""
    # The kernel keeps from pid 1 what it has no handler for: a pod told to stop while the rest is imported would keep
    # its device for the whole grace period.
    signal.signal(signal.SIGTERM, _leave)
    from dormouse_runtime import entry

    return entry.main()


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
