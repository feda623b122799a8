"""LangChain over Ollama's API: its own conformance suites (langchain-tests), run against the router."""

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from tests.clients.langchain.reach import Chats
from tests.clients.world import EMBED, SEE


class TestChat(Chats):
    """/api/chat. There is no tool_choice in this API."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": SEE, "base_url": self.url}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return False


class TestEmbeddings(EmbeddingsIntegrationTests):
    """/api/embed."""

    @pytest.fixture(autouse=True)
    def reach(self, url: str) -> None:
        self.url = url

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": EMBED, "base_url": self.url}
