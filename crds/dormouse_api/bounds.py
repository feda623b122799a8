"""Strings that several objects have: their patterns and lengths."""

from typing import Annotated

from pydantic import Field

Quantity = Annotated[str, Field(max_length=32, pattern=r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""A Kubernetes quantity of bytes: 10Gi, 500M, 1500000000."""
DnsName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
ObjectName = Annotated[
    str,
    Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
]
"""What the API server takes as the name of an object: a DNS subdomain."""
Flag = Annotated[str, Field(max_length=512, pattern=r"^--[a-z][a-z0-9-]*(=[^\x00-\x1f\x7f]*)?$")]
"""One argument of a command line, which no shell reads."""
ServedName = Annotated[
    str,
    Field(
        max_length=128,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$",
    ),
]
