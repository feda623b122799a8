"""What a client says in a way that engines do not know, said as they do: once per request, and only where it is there.

Nulls mean nothing, as OpenAI has it, but vLLM refuses some of them (`bodies.Extras`); `guided_*` are names it has given
up, and would pass over without a word; allowed tools, and functions of before there were tools, it never knew; and
`priority` is not a client's to say. Pure.
"""

from typing import Any

import msgspec
from msgspec import Raw

_encode = msgspec.json.encode
_fields = msgspec.json.Decoder(dict[str, Raw])
_any = msgspec.json.decode
GUIDED = {
    b"guided_json": "json",
    b"guided_regex": "regex",
    b"guided_choice": "choice",
    b"guided_grammar": "grammar",
}
"""What vLLM called its structured outputs, and what it calls them now."""


def refitted(body: bytes) -> bytes:
    """`body`, a JSON object, for an engine; the same where nothing is to be changed."""
    fields = _fields.decode(body)
    before = len(fields)
    for name in [name for name, value in fields.items() if bytes(value) == b"null"]:
        del fields[name]
    fields.pop("priority", None)  # nobody says of himself that he goes first: `dataplane.low` says who goes last
    changed = len(fields) != before
    for change in (_guided, _functions, _allowed, _no_tools):
        changed |= change(fields)
    return _encode(fields) if changed else body


def _guided(fields: dict[str, Raw]) -> bool:
    found = {new: fields.pop(old.decode()) for old, new in GUIDED.items() if old.decode() in fields}
    if not found:
        return False
    said = _fields.decode(fields["structured_outputs"]) if "structured_outputs" in fields else {}
    fields["structured_outputs"] = Raw(_encode({**found, **said}))
    return True


def _allowed(fields: dict[str, Raw]) -> bool:
    """Of all tools only those that are allowed, chosen from as the mode says."""
    choice: Any = _any(fields.get("tool_choice", b"null"))
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return False
    allowed = choice["allowed_tools"]
    names = {tool["function"]["name"] for tool in allowed["tools"] if "function" in tool}
    tools: list[dict[str, Any]] = _any(fields["tools"])
    fields["tools"] = Raw(_encode([tool for tool in tools if tool["function"]["name"] in names]))
    fields["tool_choice"] = Raw(_encode(allowed.get("mode", "auto")))
    return True


def _no_tools(fields: dict[str, Raw]) -> bool:
    """An empty list of tools, and a choice among none, are as good as nothing."""
    if "tools" in fields and bytes(fields["tools"]).strip(b"[] \t\r\n"):
        return False
    dropped = [fields.pop(name, None) for name in ("tools", "tool_choice", "parallel_tool_calls")]
    return any(value is not None for value in dropped)


def _functions(fields: dict[str, Raw]) -> bool:
    """`functions` and `function_call` as tools; the turns of such a conversation too."""
    functions = fields.pop("functions", None)
    call = fields.pop("function_call", None)
    if functions is not None and "tools" not in fields:
        tools = [{"type": "function", "function": function} for function in _any(functions, type=list[Raw])]
        fields["tools"] = Raw(_encode(tools))
        if call is not None:
            named = _any(call)
            wish = named if isinstance(named, str) else {"type": "function", "function": {"name": named["name"]}}
            fields["tool_choice"] = Raw(_encode(wish))
    turned = "messages" in fields and _turns(fields)
    return functions is not None or call is not None or turned


def _turns(fields: dict[str, Raw]) -> bool:
    """Calls of functions in the conversation, and what they answered, as calls of tools with ids."""
    messages: list[dict[str, Any]] = _any(fields["messages"])
    calls = 0
    for message in messages:
        call = message.pop("function_call", None)
        if isinstance(call, dict):
            calls += 1
            message["tool_calls"] = [{"id": f"call_{calls}", "type": "function", "function": call}]
        if message["role"] == "function":
            message["role"] = "tool"
            message["tool_call_id"] = f"call_{max(calls, 1)}"
    if calls:
        fields["messages"] = Raw(_encode(messages))
    return bool(calls)
