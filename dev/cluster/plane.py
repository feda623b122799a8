"""Starts the control plane of either kind of cluster and waits for it: etcd, API server, controllers, scheduler."""

from __future__ import annotations

from dev.cluster import probe
from dev.cluster.components import Components
from dev.cluster.layout import ClusterError
from dev.cluster.processes import Processes

# Asked to leave, the API server waits for the end of every open watch, up to a minute; nobody here needs that long.
API_PATIENCE = 1.0
API_STARTS = 3
"""One that dies as it starts is started again, as its kubelet would: seen once in some hundred runs, cause unknown."""


class Plane:
    """The control plane's processes. Every method may be repeated: what runs is left alone."""

    def __init__(self, components: Components, processes: Processes) -> None:
        self._components = components
        self._processes = processes
        self._waiter = probe.Waiter(processes)
        self.api = probe.Api(components.api_url, components.layout.pki)

    def start_store(self) -> None:
        """etcd, and back when it answers."""
        self._processes.start("etcd", self._components.etcd())
        self._waiter.until("an answer from etcd", lambda: probe.get(f"{self._components.etcd_url}/health"), of="etcd")

    def start_api(self) -> None:
        """The API server, without waiting: containerd may start meanwhile."""
        self._processes.start("apiserver", self._components.apiserver())

    def await_api(self) -> None:
        """Back when the API server is ready; without etcd it never would be, so that is looked at first."""
        self._waiter.until("an API server that is ready", lambda: self.api.raw("/readyz"), of="apiserver")

    def start_controllers(self) -> None:
        """Controller manager and scheduler, without waiting."""
        self._processes.start("controller-manager", self._components.controller_manager())
        self._processes.start("scheduler", self._components.scheduler())

    def await_controllers(self) -> None:
        """Back when both are healthy and the default namespace has its service account, so that pods can be made."""
        ports = self._components.ports
        for name, port in (("controller-manager", ports.controller_manager), ("scheduler", ports.scheduler)):
            self._await_health(name, f"https://127.0.0.1:{port}/healthz")
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._waiter.until("a default service account", lambda: self.api.raw(account), of="controller-manager")

    def _await_health(self, name: str, url: str) -> None:
        self._waiter.until(f"a healthy {name}", lambda: probe.unverified(url), of=name)

    def restart_api(self) -> None:
        """Stops the API server, starts it again and waits until it is ready."""
        self._processes.stop("apiserver", API_PATIENCE)
        for _ in range(API_STARTS - 1):
            self.start_api()
            try:
                self.await_api()
            except ClusterError:
                if self._processes.alive("apiserver"):
                    raise
            else:
                return
        self.start_api()
        self.await_api()
