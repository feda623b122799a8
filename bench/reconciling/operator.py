"""The operator as a process beside the bench's control plane: started, ended, asked, and watched in /proc."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench.routing.processes import TICK, BenchError, free_port
from dormouse_api import metrics


class Operator:
    """One life of `python -m dormouse_operator`. Use as a context manager."""

    def __init__(self, kubeconfig: Path, log: Path, **env: str) -> None:
        self._port = free_port()
        self._log = log
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "KUBECONFIG": str(kubeconfig),
            "DORMOUSE_PULLER_IMAGE": "puller:1",
            "DORMOUSE_OPS_PORT": str(self._port),
            "DORMOUSE_MAX_CONCURRENT_PULLS": "50",
        } | env
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=10, trust_env=False)

    def __enter__(self) -> "Operator":
        self.began = time.time()
        with self._log.open("ab") as out:
            command = [sys.executable, "-m", "dormouse_operator"]
            self.process = subprocess.Popen(command, env=self._env, stdout=out, stderr=out)
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def figures(self) -> dict[str, float]:
        """Its own metrics, each summed over its labels and by them; empty while it does not listen."""
        if self.process.poll() is not None:
            said = "\n".join(self._log.read_text(errors="replace").splitlines()[-3:])
            raise BenchError(f"the operator has ended with {self.process.returncode}: {said[-1000:]}")
        found: dict[str, float] = {}
        try:
            text = self._http.get("/metrics").text
        except httpx.TransportError:
            return found
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                for value in sample.labels.values():
                    found[f"{sample.name}:{value}"] = found.get(f"{sample.name}:{value}", 0.0) + sample.value
        return found

    def ready(self) -> bool:
        """Whether it says that its watches are in."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def looks(self) -> float:
        """Looks that ended so far."""
        return self.figures().get(metrics.RECONCILES, 0.0)

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def peak_memory(self) -> float:
        """The largest resident set of its life so far, in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
