"""LangChain over OpenAI's API: its own conformance suites (langchain-tests), run against the router."""

from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from tests.clients.langchain.reach import Pictures
from tests.clients.world import EMBED, SEE


class TestChat(Pictures):
    """Chat completions."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": SEE, "base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0, "stream_usage": True}

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestResponses(TestChat):
    """The Responses API."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}


class TestEmbeddings(EmbeddingsIntegrationTests):
    """Vectors, asked for as text: its tokenizer is OpenAI's, and no model of ours has that."""

    @pytest.fixture(autouse=True)
    def reach(self, url: str) -> None:
        self.url = url

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {
            "model": EMBED,
            "base_url": f"{self.url}/v1",
            "api_key": "none",
            "check_embedding_ctx_length": False,
        }
