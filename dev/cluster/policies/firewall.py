"""nftables in the calling thread's network namespace: put the table there, look whether it is, take it away."""

from __future__ import annotations

import subprocess

from dev.cluster.policies.ruleset import REMOVE, TABLE


def apply(ruleset: str) -> None:
    """All of it or nothing. CalledProcessError where the kernel refuses."""
    subprocess.run(["nft", "-f", "-"], input=ruleset, text=True, check=True)


def enforced() -> bool:
    """Whether there is a table of ours."""
    command = ["nft", "list", "table", *TABLE.split()]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def remove() -> None:
    """Lets every packet pass; also where there is nothing to remove."""
    apply(REMOVE)
