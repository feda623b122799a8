"""The names clients may call a model by. Pure."""

from dormouse_operator.observed import Model


def served_names(model: Model) -> list[str]:
    """The model's own name, its aliases, and the one name that no other model can take; without repetition."""
    return list(dict.fromkeys([model.name, *(model.spec.aliases or ()), f"{model.namespace}/{model.name}"]))
