"""Two operators with one ServiceAccount and a token each, so that the audit log tells who wrote what."""

import base64
import contextlib
import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.controlplane.operatorprocess import OperatorProcess, until
from tests.controlplane.rights import until_granted

CHART = Path(__file__).resolve().parents[2] / "charts" / "dormouse"
Object = dict[str, Any]
KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
LEASE = "dormouse-operator"
CREDENTIAL = "authentication.kubernetes.io/credential-id"


class Electorate:
    """Operators of one installation in `namespace`, with the chart's rights for two replicas and nothing else."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path, seconds: int) -> None:
        self.plane, self.namespace, self._folder = plane, namespace, folder
        command = [str(plane.bin / "helm"), "template", "dormouse", str(CHART), "--namespace", namespace]
        command += ["--set", f"watchNamespaces={{{namespace}}},operator.replicas=2"]
        rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        self._rights = yaml.safe_dump_all([d for d in yaml.safe_load_all(rendered) if d and d["kind"] in KINDS])
        plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=self._rights)
        until_granted(plane, "dormouse-operator", namespace, "inferencemodels", "runtimeprofiles")
        self._env = {
            "DORMOUSE_NAMESPACES": namespace,
            "DORMOUSE_ELECTION_LEASE": f"{namespace}/{LEASE}",
            "DORMOUSE_ELECTION_SECONDS": str(seconds),
        }
        self.tokens: dict[str, str] = {}
        self.operators: dict[str, OperatorProcess] = {}

    def start(self, name: str) -> OperatorProcess:
        """An operator of this name, with a token of its own."""
        token = self.plane.kubectl("create", "token", "dormouse-operator", "-n", self.namespace).stdout.strip()
        payload = token.split(".")[1]
        self.tokens[name] = f"JTI={json.loads(base64.urlsafe_b64decode(payload + '=' * (-len(payload) % 4)))['jti']}"
        config = yaml.safe_load(self.plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        kubeconfig = self._folder / f"{name}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        log = self._folder / f"{name}.log"
        self.operators[name] = OperatorProcess(kubeconfig, log, HOSTNAME=name, **self._env).start()
        return self.operators[name]

    def leader(self) -> str:
        """Who leads, once exactly one does."""

        def look() -> str | None:
            leading = [
                name
                for name, each in self.operators.items()
                if each.alive() and each.metric("dormouse_operator_leader") == 1
            ]
            return leading[0] if len(leading) == 1 else None

        return until(look, why="one leader")

    def ready(self) -> None:
        """Until every process that lives says so."""

        def all_are() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return all(each.ask("/readyz").status_code == 200 for each in self.operators.values() if each.alive())
            return False

        until(all_are, why="ready")

    def audit(self) -> list[tuple[str, Object]]:
        """(operator, request) of everything the operators asked for so far."""
        names = {credential: name for name, credential in self.tokens.items()}
        found = []
        for event in self.plane.audit_events():
            credentials = event["user"].get("extra", {}).get(CREDENTIAL, [""])
            if credentials[0] in names:
                found.append((names[credentials[0]], event))
        return found

    def writes(self) -> list[tuple[str, float, Object]]:
        """(operator, moment, object) of every write but those of the election's Lease."""
        return [
            (name, moment(event), event["objectRef"])
            for name, event in self.audit()
            if event["verb"] not in ("get", "list", "watch") and event["objectRef"].get("name") != LEASE
        ]

    def taken(self, name: str) -> float:
        """The moment at which an operator first wrote the Lease."""
        return min(
            moment(event)
            for who, event in self.audit()
            if who == name
            and event["verb"] in ("create", "update")
            and event["objectRef"]["resource"] == "leases"
            and event["responseStatus"]["code"] in (200, 201)
        )

    def close(self) -> None:
        for each in self.operators.values():
            each.kill()
        self.plane.kubectl("delete", "-n", self.namespace, "-f", "-", stdin=self._rights)


def moment(event: Object) -> float:
    """When the API server heard of it."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
