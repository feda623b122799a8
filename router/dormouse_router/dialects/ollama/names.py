"""Ollama's model names: `[host/][namespace/]model[:tag]`, what is left out, and what two spellings share.

Knows the grammar only; which names are served is the catalogue's knowledge.
"""

import re
from dataclasses import dataclass

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}"
_NAME = re.compile(
    rf"(?:(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{{0,349}}(?::[0-9]{{1,5}})?)/)??"
    rf"(?:(?P<namespace>{_PART})/)?(?P<model>{_PART})(?::(?P<tag>{_PART}))?"
)
_LONGEST = 512
_DEFAULT_HOST, _DEFAULT_NAMESPACE, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"
_HUB_HOSTS = frozenset({"hf.co", "huggingface.co", "www.huggingface.co"})


@dataclass(frozen=True)
class Name:
    """A parsed name, as written; `namespace` and `host` are empty where they were left out or are the default."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def path(self) -> str:
        """`namespace/model` without the tag: for a hub's model its repository."""
        return f"{self.namespace}/{self.model}" if self.namespace else self.model

    @property
    def listed(self) -> str:
        """The shortest form that lists show: always with a tag."""
        return f"{self._located()}:{self.tag}"

    @property
    def key(self) -> str:
        """What two spellings of one name share: lower case, no default part."""
        text = self._located() if self.tag == DEFAULT_TAG else self.listed
        return text.lower()

    @property
    def elsewhere(self) -> bool:
        """Whether Ollama's clients take the tag for a place to look for the model."""
        tag = self.tag.lower()
        return tag in ("cloud", "local") or tag.endswith("-cloud")

    @property
    def on_hub(self) -> bool:
        """Whether the name can be a hub's repository: an organisation and a name, and no foreign registry."""
        return bool(self.namespace) and not self.host

    def _located(self) -> str:
        return f"{self.host}/{self.path}" if self.host else self.path


def parse(text: str) -> Name | None:
    """The name in `text`, or None where it is none. The hub's own host names (hf.co) count as no host."""
    if len(text) > _LONGEST:
        return None
    found = _NAME.fullmatch(text.removeprefix("https://").removeprefix("http://"))
    if found is None:
        return None
    host, namespace = found["host"] or "", found["namespace"] or ""
    if host.lower() in _HUB_HOSTS | {_DEFAULT_HOST}:
        host = ""
    if not host and namespace.lower() == _DEFAULT_NAMESPACE:
        namespace = ""
    tag = found["tag"] or DEFAULT_TAG
    return Name(host, namespace, found["model"], DEFAULT_TAG if tag.lower() == DEFAULT_TAG else tag)


def key(text: str) -> str:
    """`Name.key` of `text`; what cannot be parsed is its own key, so that looking it up finds nothing else."""
    name = parse(text)
    return name.key if name else text.lower()


def listed(text: str) -> str:
    """`Name.listed` of a served name."""
    name = parse(text)
    return name.listed if name else text
