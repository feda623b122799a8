"""A model that needs its own Python code: refused before anything is pulled, and only run where a profile allows it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from dormouse_api.conditions import ConditionType
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import status
from dormouse_operator.observed import Observed, Runtime
from dormouse_operator.plan.model import Plan, plan
from tests.operator.builders import COMMIT, NOW, SETTINGS, claim, facts, model, observed, profile, remembered, wish

NEEDS = facts(remote_code=True)


def look(**more: Any) -> tuple[Plan, InferenceModelStatus, Observed]:
    o = observed(remembered(model(), NEEDS), **more)
    found = plan(o, SETTINGS, NOW)
    return found, status.build(o, found, None, NOW), o


def said(seen: InferenceModelStatus, kind: ConditionType) -> tuple[str, str, str]:
    (found,) = [c for c in seen.conditions or () if c.type == kind.value]
    return found.status, found.reason, found.message


def deployed(profile_says: str) -> tuple[Runtime, Observed]:
    """The Deployment as it is made where a profile says so."""
    m = remembered(model(), NEEDS, COMMIT)
    o = observed(m, claim=claim(), profile=profile(remoteCode=profile_says), wish=wish(60))
    (body,) = [each for each in plan(o, SETTINGS, NOW).apply if each["kind"] == "Deployment"]
    return Runtime(1, NOW, body["spec"]["template"], body["spec"]["strategy"]), o


def test_it_is_refused_with_the_way_to_allow_it_before_anything_is_pulled() -> None:
    found, seen, o = look()
    for kind in (ConditionType.READY, ConditionType.PREFLIGHT):
        state, reason, message = said(seen, kind)
        assert (state, reason) == ("False", "RemoteCodeForbidden")
        assert f"read the code at commit {COMMIT}" in message
        assert o.profile is not None
        assert f"patch runtimeprofiles.dormouse.dev {o.profile.name} --type merge" in message
        assert '{"spec":{"remoteCode":"Allowed"}}' in message
    assert {body["kind"] for body in found.apply} == {"Lease"}


def test_with_permission_it_goes_on() -> None:
    found, seen, _ = look(profile=profile(remoteCode="Allowed"))
    assert said(seen, ConditionType.READY)[1] == "Pulling"
    assert "PersistentVolumeClaim" in {body["kind"] for body in found.apply}
    runtime, _ = deployed("Allowed")
    told = json.loads(runtime.template["spec"]["containers"][0]["env"][0]["value"])
    assert told["remote_code"] is True
    assert told["commit"] == COMMIT
    assert runtime.template["spec"]["containers"][0]["env"][0]["name"] == ENV_RUNTIME_CONFIG


def test_permission_that_is_taken_back_stops_what_runs() -> None:
    runtime, o = deployed("Allowed")
    o = replace(o, runtime=runtime, profile=profile())
    found = plan(o, SETTINGS, NOW)
    (body,) = [each for each in found.apply if each["kind"] == "Deployment"]
    assert body["spec"]["replicas"] == 0
    state, reason, _ = said(status.build(o, found, None, NOW), ConditionType.READY)
    assert (state, reason) == ("False", "RemoteCodeForbidden")


def test_a_new_revision_that_needs_code_leaves_the_old_one_at_work() -> None:
    runtime, o = deployed("Allowed")
    text = json.dumps(runtime.template).replace('\\"remote_code\\":true', '\\"remote_code\\":false')
    o = replace(o, runtime=replace(runtime, template=json.loads(text)), profile=profile())
    (body,) = [each for each in plan(o, SETTINGS, NOW).apply if each["kind"] == "Deployment"]
    assert body["spec"]["replicas"] == 1
