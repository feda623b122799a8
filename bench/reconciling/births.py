"""When runtime pods appear, as a watch of the bench's own tells it: the audit log has no names of pods."""

import json
import threading
import time
from collections.abc import Callable

import httpx

from bench.reconciling.trace import Moment
from dormouse_api import names

PATH = "/api/v1/pods"
SELECTOR = f"{names.SELECTOR},{names.LABEL_COMPONENT}={names.COMPONENT_RUNTIME}"


class Births:
    """A thread that watches until `close`. Its moments are those of the bench's clock, a millisecond or two late."""

    def __init__(self, client: Callable[[], httpx.Client]) -> None:
        self.seen: list[Moment] = []
        self._http = client()
        self._end = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._begun.wait(10):
            raise TimeoutError("no watch of pods within 10 s")

    def close(self) -> None:
        """End it; `seen` stays."""
        self._end.set()
        self._thread.join(10)
        self._http.close()

    def _run(self) -> None:
        query = {"labelSelector": SELECTOR}
        version = self._http.get(PATH, params=query | {"limit": "1"}).json()["metadata"]["resourceVersion"]
        while not self._end.is_set():
            watch = query | {"watch": "true", "timeoutSeconds": "2", "resourceVersion": version}
            with self._http.stream("GET", PATH, params=watch | {"allowWatchBookmarks": "true"}) as answer:
                self._begun.set()
                for line in answer.iter_lines():
                    event = json.loads(line)
                    meta = event["object"]["metadata"]
                    version = meta["resourceVersion"]
                    if event["type"] == "ADDED":
                        self.seen.append(Moment(meta["namespace"], meta["labels"][names.LABEL_MODEL], time.time()))
