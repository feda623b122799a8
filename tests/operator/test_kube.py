"""What the API server's answers mean, and where objects live."""

from typing import Any

import pytest

from dormouse_operator.answers import problem_of
from dormouse_operator.errors import Gone, Retry, Terminal
from dormouse_operator.kube import RESOURCES
from dormouse_operator.queue import Key

KEY = Key("ns", "tiny")
Object = dict[str, Any]


@pytest.mark.parametrize(
    ("status", "answer", "kind", "after"),
    [
        (200, {}, None, None),
        (201, {}, None, None),
        (404, {"message": "not found"}, None, None),
        (409, {"reason": "AlreadyExists"}, None, None),
        (409, {"reason": "Conflict"}, Retry, None),
        (401, {}, Retry, None),
        (403, {"message": 'User "x" cannot patch resource "jobs": RBAC: role "operator" not found'}, Retry, None),
        (403, {"message": "unable to create new content in namespace a because it is being terminated"}, Retry, 5.0),
        (403, {"message": "exceeded quota: q, requested: count/jobs.batch=1"}, Terminal, None),
        (403, {"message": "the storageclass that provisions the pvc must support resize"}, Terminal, None),
        (410, {"reason": "Expired"}, Gone, 0.0),
        (429, {"details": {"retryAfterSeconds": 7}}, Retry, 7.0),
        (500, {"message": "etcd"}, Retry, None),
        (500, {"message": 'Internal error occurred: failed calling webhook "a.b": refused'}, Retry, 2.0),
        (500, {"message": "failed to create typed patch object: field not declared in schema"}, Terminal, None),
        (503, {}, Retry, None),
        (400, {"message": "bad"}, Terminal, None),
        (422, {"message": "Invalid value"}, Terminal, None),
    ],
)
def test_what_an_answer_means(status: int, answer: Object, kind: type[Exception] | None, after: float | None) -> None:
    problem = problem_of("Deployment", status, answer)
    assert (type(problem) if problem else None) is kind
    if isinstance(problem, Retry):
        assert problem.after == after


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "sub", "path"),
    [
        ("Pod", "ns", None, None, "/api/v1/namespaces/ns/pods"),
        ("Pod", None, None, None, "/api/v1/pods"),
        ("Deployment", "ns", "d", None, "/apis/apps/v1/namespaces/ns/deployments/d"),
        ("RuntimeProfile", "ignored", "p", None, "/apis/dormouse.dev/v1alpha1/runtimeprofiles/p"),
        ("InferenceModel", "ns", "m", "status", "/apis/dormouse.dev/v1alpha1/namespaces/ns/inferencemodels/m/status"),
    ],
)
def test_paths(kind: str, namespace: str | None, name: str | None, sub: str | None, path: str) -> None:
    assert RESOURCES[kind].path(namespace, name, sub) == path
