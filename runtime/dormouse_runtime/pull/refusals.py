"""What an object store's refusals mean for the owner of a model. Pure: an error's text in, a PullError out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dormouse_api.conditions import Reason
from dormouse_runtime.pull.credentials import REF
from dormouse_runtime.pull.errors import PullError
from dormouse_runtime.pull.source import replaced

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w{1,64})</Code>")
TLS = re.compile(r"InvalidCertificate|UnknownIssuer")
TIMED_OUT = re.compile(r"kind: Timeout|TimedOut")
CAUSE = re.compile(r'(?:message|error): "([^"\n]{1,200})"')
REDIRECT = "Received redirect"
"""What the client library says of a redirect, which S3 uses for buckets of another region only."""
UNNAMED = {
    "401": "Unauthorized",
    "403": "AccessDenied",
    "404": "NoSuchKey",
    "412": "PreconditionFailed",
    "429": "SlowDown",
}
KEYS = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
    "Unauthorized",
)
BUSY = ("SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException")
REGION = (
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
)


@dataclass(frozen=True)
class Place:
    """What was asked, in the words that refusals are told in."""

    uri: str
    bucket: str
    endpoint: str
    read_seconds: float
    signed: bool


def refusal(text: str, place: Place, path: str = "") -> PullError:
    """The failure behind an error of the client library; `path`: the object it was about, "" for the listing."""
    status = (STATUS.search(text) or ["", ""])[1]
    code = (CODE.search(text) or ["", ""])[1] or UNNAMED.get(status, "")
    if code in BUSY:
        return PullError(
            Reason.RATE_LIMITED, f"{place.endpoint} is answering too many requests ({code}); it is asked again later"
        )
    if code == "PreconditionFailed" or (path and code == "NoSuchKey"):
        return replaced(place.uri, path)
    if known := _named(code, place):
        return known
    if REDIRECT in text:
        return _elsewhere(place)
    if status:
        return PullError(
            Reason.NETWORK, f"{place.endpoint} answered {status} {code}".rstrip() + ": it is asked again; if it stays, "
            "check the store",
        )  # fmt: skip
    return _unanswered(text, place)


def _named(code: str, place: Place) -> PullError | None:
    """Refusals that somebody must act on."""
    if code == "NoSuchBucket":
        return PullError(
            Reason.NOT_FOUND,
            f"{place.endpoint} has no bucket {place.bucket}: create the InferenceModel with another source.uri, or "
            f"correct endpoint and region in the Secret of {REF}",
        )
    if code in REGION:
        return _elsewhere(place)
    if code == "InvalidObjectState":
        return PullError(Reason.NOT_FOUND, f"objects of {place.uri} are archived: restore them in the store first")
    if code in KEYS:
        return PullError(
            Reason.UNAUTHORIZED,
            f"{place.endpoint} refused the credentials ({code}): put valid ones into the Secret of {REF}",
        )
    if code in ("AccessDenied", "AllAccessDisabled", "AccountProblem"):
        return PullError(Reason.UNAUTHORIZED, _denied(place))
    return None


def _elsewhere(place: Place) -> PullError:
    return PullError(
        Reason.NOT_FOUND, f"the bucket {place.bucket} lies in another region: set key region in the Secret of {REF}"
    )


def _denied(place: Place) -> str:
    if place.signed:
        return (
            f"the credentials may not read {place.uri} at {place.endpoint}: allow them s3:ListBucket on the bucket and "
            "s3:GetObject on its objects"
        )
    return (
        f"{place.uri} is not public, and the model has no credentials: put accessKeyId and secretAccessKey into a "
        f"Secret of its namespace and set {REF}"
    )


def _unanswered(text: str, place: Place) -> PullError:
    if TIMED_OUT.search(text):
        return PullError(Reason.STALLED, f"{place.endpoint} sent nothing for {place.read_seconds:g} s")
    if TLS.search(text):
        return PullError(
            Reason.NETWORK,
            f"the certificate of {place.endpoint} is not trusted: set the chart's caCertificates to its authority's",
        )
    cause = CAUSE.search(text)
    return PullError(
        Reason.NETWORK,
        f"no good answer from {place.endpoint} ({cause[1] if cause else 'the connection broke'}): check that the pod "
        f"can reach it, and endpoint in the Secret of {REF}",
    )
