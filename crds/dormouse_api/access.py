"""Who may see, call and change a model: `spec.access` of an InferenceModel. Routers obey it, the API server does not.

Who a caller is belongs to the router; here an owner is only a word that is compared.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject
from dormouse_api.bounds import DnsName
from dormouse_api.schema import rules


class Visibility(StrEnum):
    """Who sees a model in lists and may call it."""

    PUBLIC = "Public"
    TEAM = "Team"
    PRIVATE = "Private"


OwnerName = Annotated[str, Field(max_length=256, pattern=r"^[!-~]+$")]
"""As routers name whoever keeps something: visible ASCII."""


class Access(ApiObject):
    """Whose the model is, and who else may use it."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "self.visibility != 'Private' || has(self.owner)",
                "access.visibility Private needs access.owner: nobody but administrators could use the model; set the "
                "owner, or make it Public",
            ),
            (
                "self.visibility != 'Team' || has(self.team)",
                "access.visibility Team needs access.team: name the team, or make it Private or Public",
            ),
        )
    }

    visibility: Visibility = Visibility.PUBLIC
    """Private: for everybody but its owner and administrators the model is not there. Team: for the team too. A route
    is as visible as the models behind it."""
    owner: OwnerName | None = None
    """Who may change and delete the model through the API: the SHA-256 (hex) of the API key of whoever made it.
    Without an owner it is the administrator's."""
    team: DnsName | None = None
    """Whose members see it, where visibility is Team."""
