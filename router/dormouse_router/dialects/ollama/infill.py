"""A prompt for a gap in a text: what models that fill gaps were trained to read, by the token they know it by. Pure.

Engines take a suffix for one or two models only, so the router writes the prompt. The token is what inspection found
in the tokenizer (`status.inspected.infill`).
"""

_FORMS = {
    "<|fim_middle|>": "<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>",
    "<fim_middle>": "<fim_prefix>{before}<fim_suffix>{after}<fim_middle>",
    "<fim-middle>": "<fim-prefix>{before}<fim-suffix>{after}<fim-middle>",
    "<\uff5cfim\u2581hole\uff5c>": (
        "<\uff5cfim\u2581begin\uff5c>{before}<\uff5cfim\u2581hole\uff5c>{after}<\uff5cfim\u2581end\uff5c>"
    ),
    "\u2581<MID>": "<PRE> {before} <SUF>{after} <MID>",
    "[MIDDLE]": "[SUFFIX]{after}[PREFIX]{before}",
}


def prompt(token: str | None, before: str, after: str) -> str | None:
    """The prompt after which a model writes what stands between the two; None where nobody knows the model's form."""
    form = _FORMS.get(token or "")
    # not str.format: the texts are the client's, and may hold braces themselves
    return form and "".join(
        {"before": before, "after": after}.get(part, part) for part in form.replace("{", "}").split("}")
    )
