"""Whether a model's own Python code may run, and what is told where it may not. Pure."""

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.profile import RemoteCode
from dormouse_api.results import Failure
from dormouse_operator.decide.facts import Facts
from dormouse_operator.observed import Model, Profile, Runtime

PATCH = """kubectl patch runtimeprofiles.dormouse.dev {} --type merge -p '{{"spec":{{"remoteCode":"Allowed"}}}}'"""


def runs(facts: Facts, profile: Profile) -> bool:
    """Both must agree: no engine loads the repository without its code, and the administrator lets it run."""
    return facts.remote_code and profile.spec.remote_code is RemoteCode.ALLOWED


def refusal(model: Model, facts: Facts, profile: Profile) -> Failure | None:
    """Why the model is not even pulled; None where it needs no code, may run it, or is served by the administrator's
    own class, which says itself what it runs."""
    if not facts.remote_code or runs(facts, profile) or profile.spec.custom is not None:
        return None
    needs = f"no engine loads {model.spec.source.uri} without the Python code of its repository, and "
    how = f"RuntimeProfile {profile.name} lets none run: read the code at commit {facts.commit}, then let an "
    how += f"administrator (who may change RuntimeProfiles) allow it: {PATCH.format(profile.name)}; "
    how += "only that commit's code runs; or choose another model, or a profile that allows it"
    return Failure(reason=Reason.REMOTE_CODE_FORBIDDEN, message=needs + how)


def revoked(blocked: Failure | None, runtime: Runtime | None) -> bool:
    """Whether what is deployed runs code that may not run any more: it must not serve on, nor be woken."""
    if runtime is None or blocked is None or blocked.reason is not Reason.REMOTE_CODE_FORBIDDEN:
        return False
    containers = (runtime.template.get("spec") or {}).get("containers") or []
    told = [
        v.get("value") or "" for c in containers for v in c.get("env") or [] if v["name"] == names.ENV_RUNTIME_CONFIG
    ]
    return any('"remote_code":true' in value for value in told)
