"""LangChain over Ollama's API: its own conformance suites (langchain-tests), run against the router."""

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

from tests.clients.world import CHAT, EMBED, SEE


class TestChat(ChatModelIntegrationTests):
    """/api/chat. There is no tool_choice in this API."""

    @pytest.fixture(autouse=True)
    def reach(self, url: str, images: None) -> None:
        self.url = url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": SEE, "base_url": self.url}

    @property
    def model_override_value(self) -> str:
        return CHAT

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return False

    @property
    def supports_image_inputs(self) -> bool:
        return True


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
