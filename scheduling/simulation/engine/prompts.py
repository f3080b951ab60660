"""From a request's JSON to what the engine must do: pure, and strict where vLLM is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec

from scheduling.simulation.engine.request import EngineConfig

CHARS_PER_TOKEN = 4  # a prompt of n characters is n / 4 tokens, rounded up: there is no tokenizer
COMPLETION_MAX_TOKENS = 16  # /v1/completions without max_tokens, as OpenAI has it
COUNTERS = ("/tokenize", "/detokenize", "/v1/messages/count_tokens")
Prompt = str | list[int]


class ApiError(Exception):
    """An error in OpenAI's shape."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> bytes:
        """The JSON that vLLM sends."""
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}
        return msgspec.json.encode({"error": error})


def bad_request(message: str, param: str | None = None) -> ApiError:
    """400, naming the field."""
    return ApiError(400, "BadRequestError", message, param)


@dataclass(frozen=True, slots=True)
class Generation:
    """A chat or text completion, read and checked. ``max_tokens`` None: as long as the model likes."""

    chat: bool
    prompt_tokens: int
    block_hashes: tuple[int, ...]
    max_tokens: int | None
    min_tokens: int
    ignore_eos: bool
    priority: int
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class Embedding:
    """Texts to embed: their lengths in tokens, and the vector format that was asked for."""

    inputs: tuple[Prompt, ...]
    prompt_tokens: tuple[int, ...]
    dimensions: int
    base64: bool


def read_json(body: bytes) -> dict[str, Any]:
    """The body as an object; raises ApiError 400."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"The body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise bad_request("The body must be a JSON object")
    return found


def read_chat(body: dict[str, Any], config: EngineConfig) -> Generation:
    """A /v1/chat/completions body; raises ApiError 400."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list with at least one message", "messages")
    max_tokens = _whole(body, "max_completion_tokens", 1)
    if max_tokens is None:
        max_tokens = _whole(body, "max_tokens", 1)
    return _generation(body, "".join(_rendered(messages)), max_tokens, config, chat=True)


def read_completion(body: dict[str, Any], config: EngineConfig) -> Generation:
    """A /v1/completions body; raises ApiError 400."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if not _is_prompt(prompt):
        raise bad_request("prompt must be one text or one list of token ids", "prompt")
    max_tokens = _whole(body, "max_tokens", 1) or COMPLETION_MAX_TOKENS
    return _generation(body, prompt, max_tokens, config, chat=False)


def read_message(body: dict[str, Any], config: EngineConfig) -> Generation:
    """A /v1/messages body; raises ApiError 400."""
    max_tokens = _whole(body, "max_tokens", 1)
    if max_tokens is None:
        raise bad_request("max_tokens must be given", "max_tokens")
    return _generation(body, message_text(body), max_tokens, config, chat=True)


def message_text(body: dict[str, Any]) -> str:
    """The system prompt and all messages of a /v1/messages body; raises ApiError 400."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages must be a list with at least one message", "messages")
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return "".join(_rendered(system + messages))


def read_response(body: dict[str, Any], config: EngineConfig) -> Generation:
    """A /v1/responses body; raises ApiError 400."""
    given = body.get("input")
    if not isinstance(given, str | list) or not given:
        raise bad_request("input must be a text or a list of items", "input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if body.get("instructions"):
        items = [{"role": "system", "content": body["instructions"]}, *items]
    spoken = [item for item in items if not isinstance(item, dict) or "role" in item]
    return _generation(
        body, "".join(_rendered(spoken)), _whole(body, "max_output_tokens", 1), config, chat=True
    )


def read_embedding(body: dict[str, Any], config: EngineConfig) -> Embedding:
    """A /v1/embeddings body; raises ApiError 400."""
    given = body.get("input")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    if not all(_is_prompt(text) for text in inputs):
        raise bad_request("input must be a text, a list of texts, or lists of token ids", "input")
    lengths = tuple(count_tokens(text) for text in inputs)
    if max(lengths) > config.max_model_len:
        raise _too_long(max(lengths), 0, config)
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise bad_request("encoding_format must be float or base64", "encoding_format")
    return Embedding(tuple(inputs), lengths, _whole(body, "dimensions", 1) or 64, encoding == "base64")


def read_rerank(body: dict[str, Any], config: EngineConfig) -> Embedding:
    """A /v1/rerank body, as the pairs to be compared; raises ApiError 400."""
    return _pairs(body, "query", "documents", config)


def read_score(body: dict[str, Any], config: EngineConfig) -> Embedding:
    """A /v1/score body with text_1 and text_2, as the pairs to be compared; raises ApiError 400."""
    return _pairs(body, "text_1", "text_2", config)


def _pairs(body: dict[str, Any], one: str, many: str, config: EngineConfig) -> Embedding:
    first, others = body.get(one), body.get(many)
    others = [others] if isinstance(others, str) else others
    if not isinstance(first, str):
        raise bad_request(f"{one} must be a text", one)
    if not isinstance(others, list) or not others or not all(isinstance(text, str) for text in others):
        raise bad_request(f"{many} must be a text or a list of texts", many)
    return read_embedding({"input": [first + text for text in others]}, config)


def count_tokens(prompt: Prompt) -> int:
    """Tokens of a text (characters / 4, rounded up, at least 1) or of a list of token ids."""
    if isinstance(prompt, list):
        return max(1, len(prompt))
    return max(1, -(-len(prompt) // CHARS_PER_TOKEN))


def count_for(path: str, body: dict[str, Any], max_model_len: int) -> dict[str, Any]:
    """The answer of one of COUNTERS; raises ApiError 400. Tokens have made-up numbers."""
    if path == "/detokenize":
        return {"prompt": "".join(f" t{token}" for token in _token_list(body.get("tokens")))}
    if path == "/tokenize" and "messages" not in body:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise bad_request("prompt must be a text", "prompt")
    else:
        prompt = message_text(body)
    count = count_tokens(prompt)
    if path == "/tokenize":
        return {"count": count, "max_model_len": max_model_len, "tokens": list(range(1, count + 1))}
    return {"input_tokens": count}


def _token_list(tokens: Any) -> list[int]:
    if not _is_prompt(tokens) or isinstance(tokens, str):
        raise bad_request("tokens must be a list of token ids", "tokens")
    return tokens


def block_hashes(prompt: Prompt, block_size: int) -> tuple[int, ...]:
    """One hash per full block, each covering everything before it too, as vLLM's prefix cache."""
    width = block_size if isinstance(prompt, list) else block_size * CHARS_PER_TOKEN
    hashes: list[int] = []
    before = 0
    for start in range(0, len(prompt) - width + 1, width):
        piece = prompt[start : start + width]
        before = hash((before, tuple(piece) if isinstance(piece, list) else piece))
        hashes.append(before)
    return tuple(hashes)


def _generation(
    body: dict[str, Any], prompt: Prompt, max_tokens: int | None, config: EngineConfig, *, chat: bool
) -> Generation:
    prompt_tokens = count_tokens(prompt)
    if prompt_tokens + (max_tokens or 1) > config.max_model_len:
        raise _too_long(prompt_tokens, max_tokens or 1, config)
    if _whole(body, "n", 1) not in (None, 1):
        raise bad_request("n must be 1: the simulated engine gives one choice", "n")
    stream = bool(body.get("stream", False))
    options = body.get("stream_options") or {}
    if not isinstance(options, dict) or (options and not stream):
        raise bad_request("stream_options is an object, and only for stream: true", "stream_options")
    priority = body.get("priority", 0)
    if not isinstance(priority, int):
        raise bad_request("priority must be a whole number; lower goes earlier", "priority")
    return Generation(
        chat=chat,
        prompt_tokens=prompt_tokens,
        block_hashes=block_hashes(prompt, config.block_size),
        max_tokens=max_tokens,
        min_tokens=_whole(body, "min_tokens", 0) or 0,
        ignore_eos=bool(body.get("ignore_eos", False)),
        priority=priority,
        stream=stream,
        include_usage=bool(options.get("include_usage", False)),
    )


def _rendered(messages: list[Any]) -> Iterator[str]:
    """Every message as a marker of its role and its text; images and tools count nothing."""
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad_request("each message must be an object with a role", "messages")
        yield f"<|{message['role']}|>"
        content = message.get("content") or ""
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (str(part.get("text", "")) for part in content if isinstance(part, dict))
        else:
            raise bad_request("content must be a text or a list of parts", "messages")


def _whole(body: dict[str, Any], name: str, least: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise bad_request(f"{name} must be a whole number of at least {least}, got {value!r}", name)
    return value


def _is_prompt(value: Any) -> TypeGuard[Prompt]:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(token, int) for token in value)


def _too_long(prompt_tokens: int, answer_tokens: int, config: EngineConfig) -> ApiError:
    return bad_request(
        f"This model's maximum context length is {config.max_model_len} tokens. However, you requested "
        f"{prompt_tokens + answer_tokens} tokens ({prompt_tokens} in the prompt, {answer_tokens} for the "
        "answer). Please shorten the prompt or lower max_tokens."
    )
