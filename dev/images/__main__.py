"""`python -m dev.images [--save FOLDER] [NAME ...]`: build what has changed, and ship it to the local cluster."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dev.cluster.layout import ClusterError, node_layout
from dev.cluster.lifecycle import Cluster
from dev.enginevenv import EngineError
from dev.images.buildah import ImageError
from dev.images.recipes import BY_NAME, NAMES
from dev.images.workshop import Workshop
from dev.uv import UvError


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.images", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(NAMES)} (default: all), {', '.join(BY_NAME)}")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write OCI archives there and ship nothing")
    options = parser.parse_args(arguments)
    cluster, workshop = Cluster(node_layout()), Workshop()
    started = time.monotonic()
    try:
        made = workshop.make(options.name)
        for item in made:
            print(f"{item.reference:40} {item.image.id[7:19]}")
        if options.save:
            workshop.save(made, options.save)
        elif cluster.running():
            moved = workshop.ship(cluster.layout, made)
            print(f"new in the node: {', '.join(moved) or 'nothing'}")
    except (ImageError, EngineError, UvError, ClusterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
