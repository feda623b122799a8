"""Where weights come from: `spec.source` of an InferenceModel, its adapters', and what each kind may be told."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from dormouse_api.base import ApiObject
from dormouse_api.bounds import ObjectName
from dormouse_api.schema import rules

SOURCE_PATTERN = (
    r"^(hf://[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
    r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]*){1,8}"
    r"|pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[A-Za-z0-9][A-Za-z0-9._-]*){0,8})$"
)

SOURCE_RULE = rules(
    (
        f"self.matches('{SOURCE_PATTERN}')",
        "source.uri must be hf://organisation/name, s3://bucket/path or pvc://claim/path",
    ),
)


REVISION_RULE = rules(
    (
        "!self.contains('..') && !self.contains('//') && !self.endsWith('/')",
        "source.revision is no branch, tag or commit: none has '..', '//' or a '/' at its end",
    ),
)


def _known_source(uri: str) -> str:
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(SOURCE_RULE["x-kubernetes-validations"][0]["message"])
    return uri


class SecretRef(ApiObject):
    """A key of a Secret in the model's own namespace."""

    name: ObjectName
    key: Annotated[str, Field(max_length=253, pattern=r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")] = "token"


class CredentialsRef(ApiObject):
    """A Secret in the model's own namespace: accessKeyId, secretAccessKey; optional sessionToken, endpoint, region."""

    name: ObjectName


_SECRETS = (
    (
        "!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
        "source.tokenSecretRef is a hub's token, for hf:// only: s3:// takes source.credentialsSecretRef, "
        "pvc:// needs no Secret",
    ),
    (
        "!has(self.credentialsSecretRef) || self.uri.startsWith('s3://')",
        "source.credentialsSecretRef is for s3:// only: hf:// takes source.tokenSecretRef, pvc:// needs no Secret",
    ),
)


class Place(ApiObject):
    """Where weights come from."""

    model_config = ApiObject.model_config | {"json_schema_extra": rules(*_SECRETS)}

    uri: Annotated[str, Field(max_length=300, json_schema_extra=SOURCE_RULE), AfterValidator(_known_source)]
    """hf://org/name, s3://bucket/path or pvc://claim/path."""
    revision: Annotated[
        str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", json_schema_extra=REVISION_RULE)
    ] = "main"
    """Branch, tag or commit; resolved to a commit in status. For s3:// and pvc:// a word means what is there when it
    is inspected, a former commit exactly that."""
    token_secret_ref: SecretRef | None = None
    """Secret with the hub token; mounted as a file in the pods that inspect and pull only."""
    credentials_secret_ref: CredentialsRef | None = None
    """Secret with the credentials of an s3:// source (keys accessKeyId, secretAccessKey, and optionally sessionToken,
    endpoint, region); mounted as files in the pods that inspect and pull only. Default: the pod's workload identity."""


class Source(Place):
    """Where the model's weights come from."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            ("self.uri == oldSelf.uri", "source.uri cannot change: create another InferenceModel for other weights"),
            *_SECRETS,
        )
    }

    uri: Annotated[str, Field(max_length=300, json_schema_extra=SOURCE_RULE), AfterValidator(_known_source)]
    """hf://org/name, s3://bucket/path or pvc://claim/path. Cannot be changed."""
    revision: Annotated[
        str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", json_schema_extra=REVISION_RULE)
    ] = "main"
    """Branch, tag or commit; resolved to a commit in status. Changing it rolls the model. For s3:// and pvc:// a word
    means what is there when it is inspected, a former status.commit exactly that."""
