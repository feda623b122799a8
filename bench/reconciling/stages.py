"""What kwok makes of our pods: Jobs end with the message that the real images write, runtime pods become ready later.

Pure text: kwok's Stage objects, whose templates kwok fills in. Knows nothing of processes.
"""

import json
from typing import Any

from dormouse_api import names
from dormouse_api.results import InspectResult, Outcome, PullResult

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BYTES = 1000

_ENDED = """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- image: {{ .image | Quote }}
  imageID: ""
  name: {{ .name | Quote }}
  ready: false
  restartCount: 0
  started: false
  state:
    terminated:
      exitCode: 0
      finishedAt: {{ $now | Quote }}
      message: MESSAGE
      reason: Completed
      startedAt: {{ $now | Quote }}
{{ end }}
phase: Succeeded
"""

Object = dict[str, Any]


def messages() -> dict[str, str]:
    """The termination message of each stage's container."""
    facts = InspectResult(commit=COMMIT, files=3, bytes=BYTES, capabilities=("completion",))
    pulled = PullResult(commit=COMMIT, files=3, bytes=BYTES, fetched_bytes=BYTES, seconds=1, digest="d")
    return {
        names.COMPONENT_INSPECT: Outcome(inspect=facts).text(),
        names.COMPONENT_PULL: Outcome(pull=pulled).text(),
    }


def stages(defaults: str, start_seconds: float) -> str:
    """kwok's configuration: its own `defaults`, of which those for pods that run are replaced by ours."""
    kept = [text for text in defaults.split("---\n") if text.strip() and not _replaced(text)]
    ready = next(text for text in defaults.split("---\n") if "name: pod-ready\n" in text)
    ours = [json.dumps(_ended(component, said)) for component, said in messages().items()]
    return "---\n".join([*kept, _delayed(ready, start_seconds), *(f"{text}\n" for text in ours)])


def _replaced(text: str) -> bool:
    return "name: pod-ready\n" in text or "name: pod-complete\n" in text


def _delayed(ready: str, seconds: float) -> str:
    """kwok's own stage of a pod that becomes ready, for runtime pods only and after `seconds`."""
    component = "\n".join(
        (
            "  selector:",
            "    matchLabels:",
            f"      {names.LABEL_COMPONENT}: {names.COMPONENT_RUNTIME}",
            "    matchExpressions:",
        )
    )
    delay = f"  delay:\n    durationMilliseconds: {int(seconds * 1000)}\n  next:\n"
    before, after = ready.replace("  selector:\n    matchExpressions:", component).split("  next:\n", 1)
    return before + delay + after


def _ended(component: str, message: str) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": f"{component}-ended"},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": "Pod"},
            "selector": {
                "matchLabels": {names.LABEL_COMPONENT: component},
                "matchExpressions": [
                    {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"},
                    {"key": ".status.phase", "operator": "In", "values": ["Pending"]},
                ],
            },
            # in double braces the message would be read as a template: JSON of one object has none of its own
            "next": {"statusTemplate": _ENDED.replace("MESSAGE", json.dumps(message))},
        },
    }
