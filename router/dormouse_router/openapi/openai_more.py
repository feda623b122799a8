"""OpenAI's routes beside chat, completions and embeddings: ranks, pictures, sounds, tokens."""

from dormouse_router.dialects.openai import more as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, passed_on
from dormouse_router.openapi.openai import FAMILY, PASSED
from dormouse_router.openapi.parts import (
    ANY,
    COUNT,
    EVENTS,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT,
    STRING,
    Answer,
    Operation,
    Schema,
    any_of,
    arr,
    nullable,
    obj,
    ref,
    said,
)

_FILE: Schema = {"type": "string", "format": "binary"}
_NAME: Schema = {"type": "string", "minLength": 1}


def requests() -> dict[str, Schema]:
    made = components("OpenAI", wire.Rerank, wire.Score, wire.Images, wire.Speech, wire.Tokenize, wire.Detokenize)
    one, other = {"required": ["prompt"]}, {"required": ["messages"]}
    made["OpenAITokenize"]["oneOf"] = [_with(one, "prompt", "string"), _with(other, "messages", "array")]
    made["OpenAIScore"]["anyOf"] = [
        {"required": list(pair)}
        for pair in (("queries", "documents"), ("queries", "items"), ("text_1", "text_2"), ("data_1", "data_2"))
    ]
    drawn = dict.fromkeys(("size", "quality", "response_format", "output_format", "seed", "steps"), PASSED)
    drawn |= dict.fromkeys(("guidance_scale", "negative_prompt"), PASSED)
    passed_on(made, "OpenAIImages", drawn)
    passed_on(made, "OpenAISpeech", dict.fromkeys(("voice", "response_format", "speed"), PASSED))
    made["OpenAIAudioForm"] = obj(
        {"model": _NAME, "file": said(_FILE, "The recording.")},
        dict.fromkeys(("language", "prompt", "response_format", "temperature", "stream"), PASSED),
    )
    made["OpenAIImageForm"] = obj(
        {"model": _NAME, "image": said(_FILE, "The picture to start from.")},
        dict.fromkeys(("prompt", "n", "size", "response_format", "mask"), PASSED),
    )
    return made


def _with(schema: Schema, field: str, kind: str) -> Schema:
    return {**schema, "properties": {field: {"type": kind}}}


_RANK = obj({"index": COUNT, "relevance_score": NUMBER}, {"document": nullable(OBJECT)})
_SCORE = obj({"index": COUNT, "score": NUMBER}, {"object": STRING})
ANSWERS: dict[str, Schema] = {
    "OpenAIRanks": obj({"results": arr(_RANK)}, {"id": STRING, "model": STRING, "usage": OBJECT}),
    "OpenAIScores": obj(
        {"data": arr(_SCORE)},
        {"id": STRING, "object": STRING, "created": INTEGER, "model": STRING, "usage": ref("OpenAIUsage")},
    ),
    "OpenAIPictures": obj({"created": INTEGER, "data": arr(obj({}, {"b64_json": STRING, "url": STRING}))}),
    "OpenAIHeard": obj({"text": STRING}, {"language": STRING, "duration": ANY, "usage": OBJECT}),
    "OpenAITokens": obj({"count": COUNT, "tokens": arr(COUNT)}, {"max_model_len": COUNT}),
    "OpenAIDetokenized": obj({"prompt": STRING}),
}


def _call(path: str, summary: str, body: str, answer: str, about: str = "") -> Operation:
    ok = Answer("The answer.", {JSON: ref(answer)}, headers.PROVENANCE)
    return Operation(FAMILY, "post", path, summary, {200: ok}, (*headers.CALLS, 422), about, body, headers.CALL)


def _form(path: str, summary: str, body: str, ok: Answer) -> Operation:
    refusals = (*headers.CALLS, 422)
    return Operation(FAMILY, "post", path, summary, {200: ok}, refusals, "", body, headers.CALL, form=True)


_HEARD = Answer(
    "What was said.",
    {JSON: ref("OpenAIHeard"), "text/plain": STRING, EVENTS: any_of(OBJECT, ref("OpenAIError"))},
    headers.PROVENANCE,
)
_DRAWN = Answer("The pictures.", {JSON: ref("OpenAIPictures")}, headers.PROVENANCE)
_PICTURES: dict[str, Schema] = {JSON: ref("OpenAIPictures"), EVENTS: any_of(OBJECT, ref("OpenAIError"))}
_ONLY = "A model whose engine cannot is a 400 that says what it can."

OPERATIONS: tuple[Operation, ...] = (
    _call("/v1/rerank", "Rank documents by a query", "OpenAIRerank", "OpenAIRanks", _ONLY),
    _call("/rerank", "Rank documents by a query (another path)", "OpenAIRerank", "OpenAIRanks"),
    _call("/v2/rerank", "Rank documents by a query (another path)", "OpenAIRerank", "OpenAIRanks"),
    _call("/v1/score", "Score pairs of texts", "OpenAIScore", "OpenAIScores", _ONLY),
    _call("/score", "Score pairs of texts (another path)", "OpenAIScore", "OpenAIScores"),
    Operation(
        FAMILY,
        "post",
        "/v1/images/generations",
        "Draw pictures",
        {200: Answer("The pictures; with `stream` an event for each.", _PICTURES, headers.PROVENANCE)},
        (*headers.CALLS, 422),
        _ONLY,
        "OpenAIImages",
        headers.CALL,
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/audio/speech",
        "Speak a text",
        {200: Answer("The sound.", {"audio/*": _FILE}, headers.PROVENANCE)},
        (*headers.CALLS, 422),
        _ONLY,
        "OpenAISpeech",
        headers.CALL,
    ),
    _form("/v1/audio/transcriptions", "Write down a recording", "OpenAIAudioForm", _HEARD),
    _form("/v1/audio/translations", "Translate a recording", "OpenAIAudioForm", _HEARD),
    _form("/v1/images/edits", "Edit a picture", "OpenAIImageForm", _DRAWN),
    _form("/v1/images/variations", "Vary a picture", "OpenAIImageForm", _DRAWN),
    _call("/tokenize", "Take a text apart into tokens", "OpenAITokenize", "OpenAITokens", "Of a text or of messages."),
    _call("/detokenize", "Put tokens together", "OpenAIDetokenize", "OpenAIDetokenized"),
)
