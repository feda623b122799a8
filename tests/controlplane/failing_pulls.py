"""How pullers give up: in their own sentences, which are those of `dormouse_runtime.pull`."""

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome
from tests.controlplane.failing import Kind
from tests.controlplane.kubelet import COMMIT, Object, failed, inspected, succeeded
from tests.controlplane.ward import Case

REPO = "org/name"


def said(reason: Reason, message: str, code: int) -> Object:
    """The status of a pod whose puller gives up with these words."""
    return failed(code, Outcome(failure=Failure(reason=reason, message=message)).text())


def _pull(name: str, stage: str, reason: Reason, message: str, *, words: str, fix: str, code: int = 42) -> Kind:
    """A puller that gives up, and later would not."""

    def cause(case: Case) -> None:
        case.play(stage, said(reason, message, code))
        case.apply()

    return Kind(name, reason.value, (words,), fix, cause, lambda case: case.cure(stage))


def _own_code(case: Case) -> None:
    """A repository that no engine loads without its own Python, on a profile that lets none run."""
    case.play("inspect", succeeded(inspected(remote_code=True)))
    case.apply(profile=case.profile())


PULLS = (
    Kind(
        "own-code",
        Reason.REMOTE_CODE_FORBIDDEN.value,
        ("without the Python code of its repository", f"read the code at commit {COMMIT}"),
        '--type merge -p \'{"spec":{"remoteCode":"Allowed"}}\'',
        _own_code,
        lambda case: case.change_profile(remoteCode="Allowed"),
    ),
    _pull(
        "unauthorized",
        "inspect",
        Reason.UNAUTHORIZED,
        f"the hub refused the token for {REPO} (401): set spec.source.tokenSecretRef to a token whose account may read "
        "it that is still valid",
        words="refused the token",
        fix="set spec.source.tokenSecretRef",
    ),
    _pull(
        "gated",
        "inspect",
        Reason.GATED,
        f"{REPO} is gated: accept its terms on the hub and set spec.source.tokenSecretRef to a Secret with your token",
        words=f"{REPO} is gated",
        fix="accept its terms",
    ),
    _pull(
        "no-repository",
        "inspect",
        Reason.NOT_FOUND,
        f"{REPO} does not exist on https://hub, or is private: check spec.source.uri, or set a token",
        words=f"{REPO} does not exist",
        fix="check spec.source.uri",
    ),
    _pull(
        "no-revision",
        "inspect",
        Reason.NOT_FOUND,
        f"{REPO} has no revision 'v9': set spec.source.revision to one it has",
        words="no revision 'v9'",
        fix="set spec.source.revision",
    ),
    _pull(
        "rate-limited",
        "inspect",
        Reason.RATE_LIMITED,
        "the hub is answering too many requests (429); it is asked again later; a token in spec.source.tokenSecretRef "
        "raises the limit",
        words="429",
        fix="a token in spec.source.tokenSecretRef",
        code=1,
    ),
    _pull(
        "unsupported",
        "inspect",
        Reason.UNSUPPORTED,
        "the repository has no safetensors weights (only pytorch_model.bin): choose another repository or revision",
        words="no safetensors",
        fix="choose another repository",
    ),
    _pull(
        "disk-full",
        "pull",
        Reason.NO_SPACE,
        "the volume is too small: 9000000000 more bytes are needed (8.38 GiB), 100 are free: raise spec.storage.size, "
        "or remove old revisions from the volume",
        words="the volume is too small",
        fix="raise spec.storage.size",
    ),
    _pull(
        "stalled",
        "pull",
        Reason.STALLED,
        "no byte came for 60 s: the pull is started again and goes on where it stopped; if it stalls each time, check "
        "the network between the pod and the hub",
        words="no byte came for 60 s",
        fix="check the network",
        code=1,
    ),
    _pull(
        "corrupt",
        "pull",
        Reason.CORRUPT,
        "model.safetensors came twice with other bytes than the hub's hash says: if the hub is a mirror, clear its "
        "cache; else report it to the repository's owner",
        words="model.safetensors came twice",
        fix="clear its cache",
    ),
    _pull(
        "no-network",
        "inspect",
        Reason.NETWORK,
        "no good answer from https://hub ([Errno -2] Name or service not known): check that the pod can reach it, or "
        "set the chart's hub.endpoint to a mirror",
        words="Name or service not known",
        fix="check that the pod can reach it",
        code=1,
    ),
    _pull(
        "bad-certificate",
        "inspect",
        Reason.NETWORK,
        "no good answer from https://hub ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed): check that the "
        "pod can reach it, or set the chart's hub.endpoint to a mirror",
        words="CERTIFICATE_VERIFY_FAILED",
        fix="check that the pod can reach it",
        code=1,
    ),
)
