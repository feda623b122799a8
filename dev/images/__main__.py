"""`python -m dev.images [NAME ...]`: build what has changed, and ship it when the local cluster runs."""

from __future__ import annotations

import sys
import time

from dev.cluster.layout import ClusterError, node_layout
from dev.cluster.lifecycle import Cluster
from dev.enginevenv import EngineError
from dev.images.buildah import ImageError
from dev.images.workshop import Workshop


def main(wanted: list[str]) -> int:
    cluster = Cluster(node_layout())
    started = time.monotonic()
    try:
        made = Workshop().make(wanted)
        for item in made:
            print(f"{item.reference:40} {item.image.id[7:19]}")
        if cluster.running():
            moved = Workshop().ship(cluster.layout, made)
            print(f"new in the node: {', '.join(moved) or 'nothing'}")
    except (ImageError, EngineError, ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
