"""What LangChain's suites are told alike whichever API is judged: where the router is, and which models answer."""

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests

from tests.clients.world import CHAT


class Chats(ChatModelIntegrationTests):
    """A suite of chats. `chat_model_class` and `chat_model_params` are its API's."""

    url: str

    @pytest.fixture(autouse=True)
    def reach(self, url: str, images: None) -> None:
        self.url = url

    @property
    def model_override_value(self) -> str:
        return CHAT

    @property
    def supports_image_inputs(self) -> bool:
        return True


class Pictures(Chats):
    """One whose API takes pictures by address and as the results of tools, too."""

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True
