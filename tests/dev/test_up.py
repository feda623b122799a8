"""What `make up` decides and prints, without a cluster."""

import json
from typing import Any

import pytest

from dev import chat, target, testbed
from dev.cluster.layout import ClusterError
from dev.target import Target

HERE = Target("kubectl", "helm", None, "registry.test/dormouse-", "v1", None)


def test_the_local_cluster_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLUSTER", raising=False)
    chosen = target.chosen()
    assert chosen.layout is not None
    assert chosen.image("router") == "localhost/dormouse-router:dev"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"CLUSTER": "other"}, "CLUSTER=other: set it to current"),
        ({"CLUSTER": "current", "IMAGE_PREFIX": ""}, "needs IMAGE_PREFIX"),
        ({"CLUSTER": "current", "IMAGE_PREFIX": "r/d-", "PATH": "/nowhere"}, "needs kubectl and helm"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_refused_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ClusterError, match=words):
        target.chosen()


def test_proxies_never_stand_between_us_and_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test")
    assert "HTTPS_PROXY" not in HERE.environment()


def test_a_new_image_rolls_the_pods_and_an_unknown_one_does_not() -> None:
    ids = {"registry.test/dormouse-router:v1": "sha256:aa"}
    options = testbed._options(HERE, ids)
    assert "router.podAnnotations.dormouse\\.dev/image-id=sha256:aa" in options
    assert not [option for option in options if option.startswith("operator.podAnnotations")]
    assert "image.prefix=registry.test/dormouse-,image.tag=v1" in options


def test_the_hub_is_restricted_and_reachable_by_the_name_the_chart_is_told() -> None:
    objects = {item["kind"]: item for item in _items(testbed.hub_objects("hub:1", "sha256:bb"))}
    pod = objects["Deployment"]["spec"]["template"]
    assert pod["metadata"]["annotations"][testbed.IMAGE_NOTE] == "sha256:bb"
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    service = objects["Service"]
    where = (
        f"http://{service['metadata']['name']}.{service['metadata']['namespace']}:{service['spec']['ports'][0]['port']}"
    )
    assert where == testbed.HUB_ENDPOINT
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_only_words_come_out_of_a_stream() -> None:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": "Pa"}, {"content": "ris."}, {}]
    lines = [": waiting", ""] + [f"data: {json.dumps({'choices': [{'delta': delta}]})}" for delta in deltas]
    usage = 'data: {"choices": [], "usage": {"total_tokens": 3}}'
    assert list(chat._words(iter([*lines, usage, "data: [DONE]"]))) == ["Pa", "ris."]


def test_an_error_in_the_stream_is_told() -> None:
    with pytest.raises(ClusterError, match="the pod died"):
        list(chat._words(iter(['data: {"error": {"message": "the pod died"}}'])))


def test_the_stages_of_a_wake_add_up_to_the_whole() -> None:
    marks = {"requested": 0, "created": 60, "scheduled": 100, "importing": 1500, "loading": 7500, "ready": 9000}
    start = {"stages": [{"stage": stage, "atMilliseconds": at} for stage, at in marks.items()]}
    lines = chat.table(chat.Answer("Paris.", 9.25, 9.5), start).splitlines()
    seconds = [float(line.split()[-2]) for line in lines]
    assert seconds[-1] == 9.5
    assert sum(seconds[:-1]) == pytest.approx(9.5, abs=0.02)
    assert any("engine imported" in line and "6.00 s" in line for line in lines)


def test_an_awake_model_has_no_stages() -> None:
    lines = chat.table(chat.Answer("Paris.", 0.07, 0.08), None).splitlines()
    assert len(lines) == 3
    assert "the model was awake" in lines[0]


def _items(found: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = found["items"]
    return items


class Recorded(Target):
    """A cluster that answers `helm status` as told and remembers every helm command."""

    def __init__(self, info: dict[str, str] | None) -> None:
        super().__init__("kubectl", "helm", None, "registry.test/dormouse-", "v1", None)
        object.__setattr__(self, "info", info)
        object.__setattr__(self, "commands", [])

    def kubectl(self, *arguments: str, send: object = None, check: bool = True) -> str:
        return ""

    def helm(self, *arguments: str, check: bool = True) -> str:
        info, commands = self.__dict__["info"], self.__dict__["commands"]
        if arguments[0] == "status":
            return json.dumps({"info": info}) if info else ""
        commands.append(arguments)
        return ""


@pytest.mark.parametrize(
    ("status", "verbs"),
    [
        (None, ["upgrade"]),
        ("deployed", ["upgrade"]),
        ("failed", ["upgrade"]),
        ("pending-upgrade", ["rollback", "upgrade"]),
        ("pending-install", ["uninstall", "upgrade"]),
    ],
)
def test_a_release_that_was_cut_off_is_recovered(status: str | None, verbs: list[str]) -> None:
    there = Recorded({"status": status, "description": "other"} if status else None)
    testbed._install(there, {})
    assert [command[0] for command in there.__dict__["commands"]] == verbs


def test_an_unchanged_release_is_left_alone_and_a_changed_image_is_not() -> None:
    first = Recorded(None)
    testbed._install(first, {})
    (command,) = first.__dict__["commands"]
    description = command[command.index("--description") + 1]
    again = Recorded({"status": "deployed", "description": description})
    testbed._install(again, {})
    assert again.__dict__["commands"] == []
    testbed._install(again, {"registry.test/dormouse-router:v1": "sha256:new"})
    assert [command[0] for command in again.__dict__["commands"]] == ["upgrade"]
