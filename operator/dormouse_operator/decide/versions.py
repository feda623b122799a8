"""Which commits of a model's source have been on its volume. Pure."""

from dormouse_api.versions import MOST_VERSIONS, ModelVersion


def seen(known: list[ModelVersion] | None, found: ModelVersion) -> list[ModelVersion]:
    """`known` with `found`, which is whole on the volume now. One that was there before keeps its time and place."""
    before = {version.commit: version for version in known or ()}
    first = before.get(found.commit, found)
    before[found.commit] = found.model_copy(update={"at": first.at})
    return list(before.values())[-MOST_VERSIONS:]
