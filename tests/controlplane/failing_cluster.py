"""How a cluster refuses: quotas, limits, policies, webhooks, profiles. Real controllers and admission."""

import httpx

from tests.controlplane.failing import Kind
from tests.controlplane.kubelet import Object
from tests.controlplane.operatorprocess import until
from tests.controlplane.ward import Case

# -- walls: one for all that is in the namespace


def _quota(case: Case, **hard: str) -> None:
    path = f"/api/v1/namespaces/{case.space}/resourcequotas"
    made = case.object(path, "ResourceQuota", case.name, spec={"hard": hard})
    until(lambda: case.rest.get(made).get("status", {}).get("hard"), why="the quota counts")


def _raise_quota(case: Case) -> None:
    case.clean()


def _no_pods(case: Case) -> None:
    _quota(case, pods="0")
    case.apply()
    until(lambda: case.models.jobs(case.name), why="a Job")
    case.mark()


def _no_runtime_pods(case: Case) -> None:
    case.asleep()
    _quota(case, pods="0")
    case.wake()
    case.mark()


def _no_jobs(case: Case) -> None:
    _quota(case, **{"count/jobs.batch": "0"})
    case.apply()
    case.mark()


def _no_claims(case: Case) -> None:
    _quota(case, persistentvolumeclaims="0")
    case.mark()
    case.apply()


def _limits(case: Case) -> None:
    path = f"/api/v1/namespaces/{case.space}/limitranges"
    case.asleep()
    limit = {"type": "Container", "max": {"cpu": "100m"}}
    case.object(path, "LimitRange", case.name, spec={"limits": [limit]})
    case.wake()
    case.mark()


def _webhook(case: Case) -> None:
    """A webhook whose server does not answer, on the Jobs of this namespace."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    hook = {
        "name": "guard.example.com",
        "rules": [rule],
        "clientConfig": {"url": "https://127.0.0.1:9/never"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.space}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
    }
    version = "admissionregistration.k8s.io/v1"
    case.object(path, "ValidatingWebhookConfiguration", "guard.example.com", version, webhooks=[hook])
    case.apply()
    case.mark()


def _policy(case: Case) -> None:
    """A ValidatingAdmissionPolicy of the cluster's that lets no Deployment of this namespace be."""
    group, version = "/apis/admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    spec: Object = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no Deployment without an owner's name"}],
    }
    case.object(f"{group}/validatingadmissionpolicies", "ValidatingAdmissionPolicy", "owners", version, spec=spec)
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.space}}}
    bound = {"policyName": "owners", "validationActions": ["Deny"], "matchResources": selector}
    kind = "ValidatingAdmissionPolicyBinding"
    case.object(f"{group}/validatingadmissionpolicybindings", kind, "owners", version, spec=bound)
    until(lambda: _denied(case), why="the policy is in force: the API server looks for new ones once a second")
    case.apply()
    case.mark()


def _denied(case: Case) -> bool:
    """Whether a Deployment would be refused by now."""
    labels = {"app": "probe"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "probe"}, "spec": {"selector": {"matchLabels": labels}, "template": pod}}
    try:
        case.rest.request("POST", f"/apis/apps/v1/namespaces/{case.space}/deployments?dryRun=All", body)
    except httpx.HTTPStatusError as error:
        return "no Deployment without an owner's name" in error.response.text
    return False


# -- profiles, and objects of others


def _no_profile(case: Case) -> None:
    case.apply(profile=case.name)
    case.mark()


def _make_profile(case: Case) -> None:
    case.profile()


def _profile_deleted(case: Case) -> None:
    case.profile()
    case.serving(profile=case.name)
    case.clean()
    case.mark()


def _taken(case: Case) -> None:
    path = f"/api/v1/namespaces/{case.space}/services"
    case.object(path, "Service", f"{case.name}-runtime", spec={"ports": [{"port": 80}]})
    case.apply()
    case.mark()


CLUSTER = (
    Kind("no-profile", "ProfileNotFound", ("RuntimeProfile no-profile",), "create it", _no_profile, _make_profile),
    Kind(
        "profile-deleted",
        "Serving",
        ("RuntimeProfile profile-deleted",),
        "create it",
        _profile_deleted,
        _make_profile,
        status="True",
        after="Serving",
    ),
    Kind("name-taken", "InvalidSpec", ("Service name-taken-runtime",), "another name", _taken, Case.clean),
    Kind(
        "quota-of-job-pods",
        "Refused",
        ("exceeded quota",),
        "raise the ResourceQuota",
        _no_pods,
        _raise_quota,
        walled=True,
    ),
    Kind(
        "quota-of-pods",
        "Refused",
        ("the runtime pod", "exceeded quota"),
        "raise the ResourceQuota",
        _no_runtime_pods,
        _raise_quota,
        after="Serving",
        walled=True,
    ),
    Kind(
        "quota-of-jobs", "Refused", ("exceeded quota",), "raise the ResourceQuota", _no_jobs, _raise_quota, walled=True
    ),
    Kind(
        "quota-of-claims",
        "StorageFailed",
        ("exceeded quota",),
        "raise the ResourceQuota",
        _no_claims,
        _raise_quota,
        walled=True,
    ),
    Kind(
        "limit-range",
        "Refused",
        ("must be less than or equal to cpu limit of 100m",),
        "set the profile's resources within the LimitRange",
        _limits,
        _raise_quota,
        after="Serving",
        walled=True,
    ),
    Kind(
        "dead-webhook",
        "Refused",
        ("guard.example.com",),
        "mend or remove the webhook",
        _webhook,
        _raise_quota,
        walled=True,
    ),
    Kind(
        "policy",
        "Refused",
        ("no Deployment without an owner's name",),
        "obey the policy",
        _policy,
        _raise_quota,
        walled=True,
    ),
)
