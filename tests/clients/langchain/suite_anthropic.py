"""LangChain over Anthropic's API: its own conformance suite (langchain-tests), run against the router."""

from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel

from tests.clients.langchain.reach import Pictures
from tests.clients.world import SEE


class TestChat(Pictures):
    """/v1/messages."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": SEE, "base_url": self.url, "api_key": "none", "max_retries": 0}

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True
