"""`python -m tests.clients.langchain.quick URL MODEL [EMBEDDING]`: what a program does with LangChain, as JSON."""

import json
import sys
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.clients.passes import DESCRIBE, FRANCE, Country
from tests.clients.talks import WEATHER_ASKED

KEY = SecretStr("none")


def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"It is sunny in {city}."


def chat(model: BaseChatModel) -> dict[str, Any]:
    calls = model.bind_tools([get_weather]).invoke(WEATHER_ASKED).tool_calls
    formed = model.with_structured_output(Country).invoke(DESCRIBE)
    assert isinstance(formed, Country)
    return {
        "invoke": model.invoke(FRANCE).text,
        "stream": "".join(chunk.text for chunk in model.stream(FRANCE)),
        "batch": [message.text for message in model.batch([FRANCE, FRANCE])],
        "tools": [{"name": call["name"], "args": call["args"]} for call in calls],
        "structured": sorted(formed.model_dump()),
    }


def vectors(model: Embeddings) -> dict[str, Any]:
    one, many = model.embed_query("a mouse"), model.embed_documents(["a mouse", "a cat"])
    return {"embeddings": [len(one) == len(many[1]) > 1, one != many[1]]}


def main(url: str, name: str, embedding: str | None = None) -> dict[str, Any]:
    """By API: what each call gave."""
    base = f"{url}/v1"
    found = {
        "openai": chat(ChatOpenAI(model=name, base_url=base, api_key=KEY, max_retries=0, temperature=0)),
        "ollama": chat(ChatOllama(model=name, base_url=url, temperature=0, num_predict=128)),
    }
    if embedding is not None:
        by_openai = OpenAIEmbeddings(model=embedding, base_url=base, api_key=KEY, check_embedding_ctx_length=False)
        found["openai"] |= vectors(by_openai)
        found["ollama"] |= vectors(OllamaEmbeddings(model=embedding, base_url=url))
    return found


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
