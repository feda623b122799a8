"""Credentials within the words of others: what looks like one is not told in conditions, Events and logs. Pure.

The last wall, not the first: whoever has a secret keeps it out of its own words. But a hub, an engine, a registry or a
library may say a URL, a header or a setting again, and nobody here knows what its secret is.
"""

import re
from re import Pattern

HIDDEN = "***"
_RANDOM = r"(?=[^\s,;&\"']{0,200}\d)"
"""What goes on has a digit soon: random characters have, words have not. Bounded, so that no text takes long."""
_NAME = (
    r"(?<![Ee]xisting)(?<!bos_)(?<!eos_)(?<!pad_)(?<!unk_)"
    r"(?i:token|secret|passw(?:or)?d|pwd|api[_-]?key|access[_-]?key|signature|credential)"
)
"""But for names of Secrets in values, and tokens of tokenizers."""
_VALUE = r"[^\s,;&\"'`]+"
_PLACEHOLDER = r"(?![A-Z_]+(?![\w.-]))(?!\.\.\.)"
"""TOKEN, YOUR_KEY, ...: where a message says what to write."""
_SCHEME = r"(?i:bearer|basic|token)\s"
_SECRETS: tuple[tuple[Pattern[str], str], ...] = (
    (re.compile(r"://[^/\s]{1,500}@"), f"://{HIDDEN}@"),
    (
        re.compile(rf"((?i:authorization)[\"']?\s?[=:]\s?[\"']?(?:{_SCHEME})?)(?!{_SCHEME}){_PLACEHOLDER}{_VALUE}"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(?i)\b(bearer|basic)\s{_RANDOM}[\w.~+/=:-]{{8,}}"), rf"\1 {HIDDEN}"),
    (re.compile(rf"({_NAME}(?:[\"']?=[\"']?|[\"']\s?:\s?[\"'])){_PLACEHOLDER}[^\s,;&\"']{{6,}}"), rf"\1{HIDDEN}"),
    (re.compile(rf"({_NAME}\s?:\s){_RANDOM}[^\s,;&\"']{{8,}}"), rf"\1{HIDDEN}"),
    (re.compile(rf"\b(?:hf_|sk-|sk_|ghp_|github_pat_|glpat-|whsec_){_RANDOM}[\w+/=-]{{6,}}"), HIDDEN),
    (re.compile(r"\b(?:hf_(?!transfer)[A-Za-z0-9]{8,}|sk-[\w-]{16,}|AKIA[0-9A-Z]{16})"), HIDDEN),
    # a key of ours, and no model that is called so: names of objects have no capitals, no underscores, no such numbers
    (re.compile(r"\bdm-(?:(?=[\w-]{0,60}[A-Z_])[\w-]{20,}|[0-9a-f]{32,})"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{5,2000}\.[\w-]{5,4000}(?:\.[\w-]*)?"), HIDDEN),
)
"""In URLs, in headers, in assignments and in JSON, by the beginnings that services give their keys, and tokens."""


def without_secrets(text: str) -> str:
    """`text` with HIDDEN in place of what looks like a credential."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
