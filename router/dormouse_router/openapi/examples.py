"""A request of each kind that works as it is, with the models of the samples: what a reader tries first.

They are tried in the tests, too, so they cannot rot.
"""

from typing import Any

Body = dict[str, Any]
CHAT, EMBED = "tiny-chat", "tiny-embed"
_HI = [{"role": "user", "content": "What is the capital of France?"}]
_WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
_TOOL = {"type": "function", "function": _WEATHER}
_CHAT: Body = {"model": CHAT, "messages": _HI}
_TEXT: Body = {"model": CHAT, "prompt": "Once upon a time"}
_RANK: Body = {"model": EMBED, "query": "capital of France", "documents": ["Paris", "Berlin"]}
_WHOLE: Body = {"stream": False}
_EVENTS: Body = {"stream": True}
_CONTEXT: Body = {"model": CHAT, "max_tokens": 64, "messages": _HI}

EXAMPLES: dict[str, dict[str, Body]] = {
    "OpenAIChat": {
        "whole": _CHAT,
        "streamed": _CHAT | _EVENTS | {"stream_options": {"include_usage": True}},
        "with a tool": _CHAT | {"tools": [_TOOL], "tool_choice": "auto"},
        "as JSON": _CHAT | {"response_format": {"type": "json_object"}},
    },
    "OpenAICompletion": {"whole": _TEXT | {"max_tokens": 16}, "streamed": _TEXT | _EVENTS},
    "OpenAIEmbedding": {
        "texts": {"model": EMBED, "input": ["Paris", "Berlin"]},
        "in base64": {"model": EMBED, "input": "Paris", "encoding_format": "base64"},
    },
    "OpenAIRerank": {"two": _RANK},
    "OpenAIScore": {"a pair": {"model": EMBED, "text_1": "Paris", "text_2": "Berlin"}},
    "OpenAIImages": {"a picture": {"model": CHAT, "prompt": "A dormouse asleep"}},
    "OpenAISpeech": {"a sentence": {"model": CHAT, "input": "Good night.", "voice": "alloy"}},
    "OpenAITokenize": {"a text": {"model": CHAT, "prompt": "Good night."}},
    "OpenAIDetokenize": {"tokens": {"model": CHAT, "tokens": [1, 2, 3]}},
    "ResponseCreateRequest": {
        "whole": {"model": CHAT, "input": "What is the capital of France?"},
        "streamed": {"model": CHAT, "input": "Say hi.", **_EVENTS},
        "not kept": {"model": CHAT, "input": _HI, "store": False},
        "in the background": {"model": CHAT, "input": "Say hi.", "background": True},
    },
    "ResponseCountRequest": {"a text": {"model": CHAT, "input": "Good night."}},
    "OllamaChatRequest": {
        "streamed": _CHAT,
        "whole": _CHAT | _WHOLE,
        "with a tool": _CHAT | _WHOLE | {"tools": [_TOOL]},
        "load": {"model": CHAT},
    },
    "OllamaGenerateRequest": {"streamed": _TEXT, "whole": _TEXT | _WHOLE | {"options": {"num_predict": 16}}},
    "OllamaEmbedRequest": {"texts": {"model": EMBED, "input": ["Paris", "Berlin"]}},
    "OllamaEmbeddingRequest": {"a text": {"model": EMBED, "prompt": "Paris"}},
    "OllamaNameRequest": {"a model": {"model": CHAT}},
    "OllamaCreateRequest": {"a manner": {"model": "polite", "from": CHAT, "system": "Be polite.", **_WHOLE}},
    "OllamaCopyRequest": {"another name": {"source": CHAT, "destination": "my-chat"}},
    "AnthropicMessagesRequest": {
        "whole": _CONTEXT,
        "streamed": _CONTEXT | _EVENTS,
        "with a tool": _CONTEXT | {"tools": [{"name": "get_weather", "input_schema": _WEATHER["parameters"]}]},
    },
    "AnthropicCountRequest": {"a message": {"model": CHAT, "messages": _HI}},
    "NativeChatRequest": {
        "whole": {"model": CHAT, "prompt": "What is the capital of France?"},
        "streamed": {"model": CHAT, "prompt": "Say hi.", **_EVENTS},
        "with a history": {"model": CHAT, "prompt": "And of Germany?", "session_id": "mine"},
    },
    "ReplicateCreateRequest": {
        "a text": {"version": CHAT, "input": {"prompt": "What is the capital of France?"}},
        "a turn": {"model": CHAT, "input": {"messages": _HI, "max_tokens": 16}},
    },
    "ReplicateRotateRequest": {"at once": {"expires_in": 0}},
    "NativePullRequest": {"from the hub": {"model": "org/name", "quantize": "q4"}},
}
"""By the component schema of the body."""
