"""Names with a template of Ollama's, over real vLLM: the router writes the prompt the model was trained on."""

from collections.abc import AsyncIterator

import httpx
import ollama
import pytest

from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ITS_OWN = """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}
{{- range .Messages }}
{{- if ne .Role "system" }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}
{{- end }}<|im_start|>assistant
"""
"""What the model was trained on, in Go's language."""
GREEDY = {"temperature": 0.0, "num_predict": 40}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


@pytest.fixture
async def client() -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=ROUTER, timeout=240) as made:
        yield made


async def test_a_model_answers_by_a_template_as_by_its_own(story: Story, client: ollama.AsyncClient) -> None:
    name, raw = story.name("templated"), story.name("raw")
    await client.create(name, from_=NAME, template=ITS_OWN, parameters=GREEDY)
    await client.create(raw, from_=NAME, template="{{ .Prompt }}", parameters=GREEDY)
    whole = await client.chat(model=name, messages=[{"role": "user", "content": FRANCE}])
    assert whole.message.content == PARIS
    stream = await client.chat(model=name, messages=[{"role": "user", "content": FRANCE}], stream=True)
    assert "".join([part.message.content or "" async for part in stream]) == PARIS
    assert (await client.generate(model=name, prompt=FRANCE)).response == PARIS
    untouched = await client.generate(model=raw, prompt="The capital of France is")
    assert untouched.response == f" {PARIS}", "no chat template was put around it"
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        chat = {"model": name, "messages": [{"role": "user", "content": FRANCE}]}
        refused = await http.post("/v1/chat/completions", json=chat)
    assert refused.status_code == 400
    assert "/api/chat" in refused.json()["error"]["message"]
    for each in (name, raw):
        await client.delete(each)
