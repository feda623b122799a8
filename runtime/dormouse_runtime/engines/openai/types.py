"""The requests of the OpenAI API as far as the transformers engine serves them. Bounds where a number could hurt."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

MAX_CHOICES = 16
_OURS = ("add_generation_prompt", "continue_final_message", "tools")
"""What a request says of a template outside `chat_template_kwargs`."""


def as_templates_know(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages with the roles and names that chat templates of weights have: no `developer`, and thoughts of earlier
    turns under the name by which most of them look for these."""
    return [_known(message) for message in messages]


def _known(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") == "developer":
        message = {**message, "role": "system"}
    if message.get("reasoning") is not None and message.get("reasoning_content") is None:
        message = {**message, "reasoning_content": message["reasoning"]}
    return message


Messages = Annotated[list[dict[str, Any]], Field(min_length=1), AfterValidator(as_templates_know)]


def template_options(kwargs: dict[str, Any] | None, tools: list[dict[str, Any]] | None, go_on: bool) -> dict[str, Any]:
    """What the chat template is told beside the messages."""
    given = {key: value for key, value in (kwargs or {}).items() if key not in _OURS}
    return {**given, "tools": tools or None} | ({"continue_final_message": True} if go_on else {})


class StreamOptions(BaseModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False
    """vLLM's: every event tells the usage so far."""


class Common(BaseModel):
    """What both endpoints take. Unknown fields are ignored, as OpenAI's own server does with old clients."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] = 1
    stop: Annotated[list[str], Field(max_length=16)] | str | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=4)] | None = None
    logit_bias: dict[int, FiniteFloat] | None = None
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def include_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def running_usage(self) -> bool:
        return self.include_usage and bool(self.stream_options and self.stream_options.continuous_usage_stats)


class ResponseFormat(BaseModel):
    type: str = "text"


class ChatRequest(Common):
    """POST /v1/chat/completions."""

    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = "auto"
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool = False
    """The last message is the assistant's and the answer goes on with it."""

    @model_validator(mode="after")
    def _within_reach(self) -> ChatRequest:
        if self.response_format and self.response_format.type != "text":
            raise ValueError("response_format: the transformers engine cannot force a format; use the vllm engine")
        if self.tool_choice not in ("auto", "none", None):
            raise ValueError("tool_choice: the transformers engine knows only auto and none; use the vllm engine")
        if self.logprobs:
            raise ValueError("logprobs: the transformers engine does not tell them; use the vllm engine")
        return self

    @property
    def template_options(self) -> dict[str, Any]:
        return template_options(self.chat_template_kwargs, self.wanted_tools, self.continue_final_message)

    @property
    def wanted_tools(self) -> list[dict[str, Any]] | None:
        return None if self.tool_choice == "none" else self.tools or None


class TokenizeRequest(BaseModel):
    """POST /tokenize, which is vLLM's: a conversation by the model's template, or a plain prompt."""

    model: str | None = None
    messages: Messages | None = None
    prompt: str | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> TokenizeRequest:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("send either messages or prompt")
        return self

    @property
    def template_options(self) -> dict[str, Any]:
        return template_options(self.chat_template_kwargs, self.tools, self.continue_final_message)


class CompletionRequest(Common):
    """POST /v1/completions. `prompt` is one text, several, or token ids of either."""

    prompt: str | list[str] | list[int] | list[list[int]]

    @property
    def prompts(self) -> list[str | list[int]]:
        """One entry per prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [entry for entry in self.prompt if not isinstance(entry, int)]
