"""Values that mean harm, and every string field of our kinds to put them into. Walks the generated schemas."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dormouse_api import names
from dormouse_api.definitions import inference_models, inference_routes, runtime_profiles

Object = dict[str, Any]
Path = tuple[str, ...]
"""Names of properties; `[]` is an item of a list, `{}` a value of a map, `{key}` a key of one."""

HOSTILE = {
    "shell": "$(touch /tmp/owned)`id`; rm -rf / | cat & echo ${HOME} > /dev/null",
    "quotes": "\"'\\\"'; DROP TABLE models; --",
    "up": "../../../etc/passwd",
    "up at the end": "a/..",
    "absolute": "/etc/passwd",
    "newline": "a\nb: c\n- d",
    "carriage return": "a\r\nSet-Cookie: x",
    "nul": "a\x00b",
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "tab and bell": "\t\x07",
    "delete": "a\x7fb",
    "writing direction": "a\u202eb\u2066c",
    "look-alike": "\u043codel",  # a Cyrillic letter
    "full width": "\uff0e\uff0e\uff0f",
    "emoji": "\U0001f994",
    "separator": "a\u2028b",
    "space": " a ",
    "empty": "",
    "another namespace": "kube-system/secret",
    "dots": "..",
    "template": "{{ ''.__class__.__mro__ }}{% raw %}",
    "yaml": "!!python/object/apply:os.system ['id']",
    "kubelet": "$(HOME)$$(HOME)",
    "flag": "--trust-remote-code",
    "assignment": "a=b",
    "percent": "%s%n%2e%2e%2f",
    "long": "x" * 2**20,
}
GOOD: Object = {
    "uri": "hf://org/name",
    "name": "n",
    "image": "runtime:1",
    "device": "cpu",
    "kvCacheMemory": "1Gi",
    "resource": "example.com/gpu",
    "memory": "1Gi",
    "model": "m",
    "by": "User",
    "role": "user",
    "content": "c",
    "variants": [{"model": "m"}],
    "source": {"uri": "hf://org/name"},
    "cron": "0 7 * * *",
    "path": "texts.jsonl",
    "method": "draft",
    "entryPoint": "package.module:Class",
}
"""A good value for each required field: one that comes later has to be added."""
DEMANDED = {
    names.PROFILE_KIND: {"kvCacheMemory": "1Gi"},
}
NEEDED: dict[tuple[str, Path], Object] = {
    (names.MODEL_KIND, ("source", "credentialsSecretRef")): {"source": {"uri": "s3://bucket/path"}},
    (names.MODEL_KIND, ("calibration",)): {"quantization": "int4"},
    (names.MODEL_KIND, ("engine", "speculative", "source", "credentialsSecretRef")): {
        "engine": {"speculative": {"source": {"uri": "s3://bucket/path"}}}
    },
    (names.ROUTE_KIND, ("sticky", "header")): {"sticky": {"by": "Header"}},
    (names.PROFILE_KIND, ("tolerations", "[]", "value")): {"tolerations": [{"key": "k", "operator": "Equal"}]},
}
"""What rules want beside a field."""


@dataclass(frozen=True)
class Slot:
    """A string field of a kind's spec."""

    kind: str
    path: Path
    schema: Any

    @property
    def name(self) -> str:
        return f"{self.kind}:{'.'.join(self.path)}"

    def spec(self, value: str, root: Object) -> Object:
        """A spec that is good but for `value` in this field. `root`: the schema of the whole spec."""
        whole: Object = _with(root, self.path, value)
        for (kind, prefix), needed in NEEDED.items():
            if kind == self.kind and self.path[: len(prefix)] == prefix:
                _merge(whole, needed)
        for name, good in DEMANDED.get(self.kind, {}).items():
            whole.setdefault(name, good)
        return whole


def schemas() -> dict[str, Object]:
    """The schema of each kind's spec, as it is installed."""
    crds = (inference_models(), runtime_profiles(), inference_routes())
    return {
        crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for crd in crds
    }


def slots() -> list[Slot]:
    """Every string that a user may write, keys of maps included."""
    return [Slot(kind, path, leaf) for kind, schema in schemas().items() for path, leaf in _strings(schema, ())]


def _strings(schema: Object, path: Path) -> Iterator[tuple[Path, Object]]:
    kind = schema["type"]
    if kind == "string":
        yield path, schema
    elif kind == "array":
        yield from _strings(schema["items"], (*path, "[]"))
    elif isinstance(schema.get("additionalProperties"), dict):
        yield (*path, "{key}"), {"type": "string"}
        yield from _strings(schema["additionalProperties"], (*path, "{}"))
    for name, inner in schema.get("properties", {}).items():
        yield from _strings(inner, (*path, name))


def _with(schema: Object, path: Path, value: str) -> Any:
    """The least good value of `schema` that has `value` at `path`."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step == "[]":
        return [_with(schema["items"], rest, value)]
    if step == "{}":
        return {"good": _with(schema["additionalProperties"], rest, value)}
    if step == "{key}":
        return {value: "1"}
    found = {name: GOOD[name] for name in schema.get("required", ()) if name != step}
    return found | {step: _with(schema["properties"][step], rest, value)}


def _merge(into: Any, more: Any) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif isinstance(value, list) and isinstance(into.get(name), list):
            for mine, extra in zip(into[name], value, strict=False):
                _merge(mine, {key: v for key, v in extra.items() if key not in mine})
        else:
            into[name] = value
