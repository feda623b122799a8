"""LangChain over Anthropic's API: its own conformance suite (langchain-tests), run against the router."""

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.clients.world import CHAT, SEE


class TestChat(ChatModelIntegrationTests):
    """/v1/messages."""

    @pytest.fixture(autouse=True)
    def reach(self, url: str, images: None) -> None:
        self.url = url

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": SEE, "base_url": self.url, "api_key": "none", "max_retries": 0}

    @property
    def model_override_value(self) -> str:
        return CHAT

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True
