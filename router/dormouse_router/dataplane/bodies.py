"""The bodies of OpenAI's calls, as far as they are checked: fields that it documents, with their types and ranges.

Ranges are here where every engine refuses what is beyond them, or OpenAI's contract does: a model is not woken for a
call that cannot succeed. Unknown fields pass, and an explicit null is as good as nothing.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

Number = int | float
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What engines can hold: a larger one would wake a model only to be refused."""
Positive = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Choices = Annotated[int, Meta(ge=1, le=128)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TopLogprobs = Annotated[int, Meta(ge=0, le=20)]
NO_RAW = Raw()


class StreamOptions(Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's: every event tells the usage so far."""


class JsonSchema(Struct):
    name: str


class ResponseFormat(Struct):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchema | None = None


class Extras(Struct):
    """vLLM's own fields that it refuses as null, and those that it has given up: as they are written, for whoever says
    them otherwise (`openai/refit`). One field costs nothing; a search for them costs as long as the prompt is."""

    add_generation_prompt: Raw = NO_RAW
    add_special_tokens: Raw = NO_RAW
    bad_words: Raw = NO_RAW
    continue_final_message: Raw = NO_RAW
    guided_choice: Raw = NO_RAW
    guided_grammar: Raw = NO_RAW
    guided_json: Raw = NO_RAW
    guided_regex: Raw = NO_RAW
    ignore_eos: Raw = NO_RAW
    include_reasoning: Raw = NO_RAW
    include_stop_str_in_output: Raw = NO_RAW
    length_penalty: Raw = NO_RAW
    min_tokens: Raw = NO_RAW
    priority: Raw = NO_RAW
    request_id: Raw = NO_RAW
    skip_special_tokens: Raw = NO_RAW
    spaces_between_special_tokens: Raw = NO_RAW
    use_beam_search: Raw = NO_RAW


class Common(Extras, kw_only=True):
    """Fields of every call for text; all optional but the model."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    n: Choices | UnsetType | None = UNSET
    """vLLM takes no null here for completions."""
    temperature: Temperature | None = None
    top_p: Share | None = None
    seed: Whole | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    logit_bias: dict[str, float] | None = None
    response_format: ResponseFormat | None = None
    keep_alive: Raw = NO_RAW
    """Ollama's, taken here too."""


class Message(Struct):
    role: str
    content: Raw = NO_RAW


class Function(Struct):
    name: str


class Tool(Struct):
    type: str
    function: Function | None = None


class Chat(Common, kw_only=True):
    messages: list[Message]
    echo: Raw = NO_RAW
    """One more of `Extras`; of completions it is a field like others."""
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: Raw = NO_RAW
    functions: list[Function] | None = None
    function_call: Raw = NO_RAW
    modalities: list[str] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class Completion(Common, kw_only=True):
    prompt: str | list[str | int | list[int]] | None = None
    max_tokens: Count | None = None
    echo: bool | None = None
    logprobs: Count | None = None


class Embedding(Struct):
    model: str
    input: str | list[str | int | list[int]]
    dimensions: Positive | None = None
    encoding_format: Literal["float", "base64"] | None = None
    priority: Raw = NO_RAW
    keep_alive: Raw = NO_RAW


class NamedFunction(Struct):
    """A function in `tool_choice`."""

    name: str


class AllowedTools(Struct):
    mode: str = "auto"
    tools: list[Tool] = []


class ToolChoice(Struct):
    """`tool_choice` where it is an object."""

    type: str = "function"
    function: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None
