"""`python3 -m tests.engine serve|quantize`: the runtime image's contract, played."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from tests.engine.engine import Engine, Listen, default_config
from tests.engine.quantize import quantize
from tests.engine.start import pulled, read_script

DIED = 137


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.engine", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("serve", "quantize"), default="serve")
    parser.add_argument("--model", default="tiny", help="name to serve under, without DORMOUSE_RUNTIME")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--admin-port", type=int, default=None)
    args = parser.parse_args()
    config = json.loads(os.environ.get("DORMOUSE_RUNTIME", "null")) or default_config(args.model)
    told = os.environ.get("DORMOUSE_SCRIPT")
    if args.what == "quantize":
        order = json.loads(os.environ["DORMOUSE_QUANTIZE"])
        return quantize(order, read_script(Path(order["model_dir"]), told))
    script = read_script(pulled(config["attempts"][0]["model_dir"], config["commit"]), told)
    serving = args.port if args.port is not None else config.get("serving_port", 8000)
    admin = args.admin_port if args.admin_port is not None else config.get("admin_port", 8001)
    engine = Engine(config, script, Listen(args.host, serving, admin))
    return asyncio.run(_serve(engine, float(config.get("drain_seconds", 30))))


async def _serve(engine: Engine, drain_seconds: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await engine.open()
    starting = asyncio.ensure_future(engine.play())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        await engine.close()
        return 0
    if not starting.result():
        await engine.close()
        return 1
    print(f"ready on :{engine.port}, admin :{engine.admin_port}", flush=True)  # noqa: T201 - the pod's log
    dying = asyncio.ensure_future(engine.api.died.wait())
    await asyncio.wait({dying, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if dying.done():
        os._exit(DIED)  # as a killed process: no goodbye on any connection
    dying.cancel()
    await engine.drain(drain_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
