"""Takes completions and embeddings: read, fail on demand, queue, answer."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from scheduling.simulation.engine.answers import (
    Answer,
    EmbeddingAnswer,
    StreamedAnswer,
    Told,
    WholeAnswer,
)
from scheduling.simulation.engine.dialects import (
    MessagesStream,
    MessagesWhole,
    RerankAnswer,
    ResponseStream,
    ResponseWhole,
    ScoreAnswer,
)
from scheduling.simulation.engine.driver import Driver
from scheduling.simulation.engine.faults import Fault, FaultKind, Faults, parse_fault
from scheduling.simulation.engine.http import Exchange
from scheduling.simulation.engine.lengths import AnswerLengths
from scheduling.simulation.engine.model import EngineModel
from scheduling.simulation.engine.options import EngineOptions
from scheduling.simulation.engine.prompts import (
    ApiError,
    Embedding,
    Generation,
    bad_request,
    count_for,
    read_chat,
    read_completion,
    read_embedding,
    read_json,
    read_message,
    read_rerank,
    read_response,
    read_score,
)
from scheduling.simulation.engine.request import EngineConfig, EngineRequest, Progress, QueueFull

FAULT_HEADER = "x-sim-fault"
FAULT_MARK = "!"  # in a model name: NAME!reset_mid:3
ORCA_ASK, ORCA_TELL = "endpoint-load-metrics-format", "endpoint-load-metrics"
HTML = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>"
Ask = Generation | Embedding
READERS: dict[str, tuple[str, Callable[[dict[str, Any], EngineConfig], Ask]]] = {
    "/v1/chat/completions": ("chatcmpl", read_chat),
    "/v1/completions": ("cmpl", read_completion),
    "/v1/embeddings": ("embd", read_embedding),
    "/v1/messages": ("msg", read_message),
    "/v1/responses": ("resp", read_response),
    "/v1/rerank": ("rerank", read_rerank),
    "/v1/score": ("score", read_score),
}
STREAMED: dict[str, type[StreamedAnswer]] = {"/v1/messages": MessagesStream, "/v1/responses": ResponseStream}
POOLED: dict[str, type[EmbeddingAnswer]] = {"/v1/rerank": RerankAnswer, "/v1/score": ScoreAnswer}
WHOLE: dict[str, type[WholeAnswer]] = {"/v1/messages": MessagesWhole, "/v1/responses": ResponseWhole}


class Desk:
    """Every request that costs the engine work passes here.

    ``deliver`` is what the driver calls with each token; ``die`` is called
    when a failure says that the engine ends.
    """

    def __init__(
        self, options: EngineOptions, model: EngineModel, faults: Faults, die: Callable[[], None]
    ) -> None:
        self._options = options
        self._model = model
        self._faults = faults
        self._die = die
        self._lengths = AnswerLengths(options.eos, options.seed)
        self._answers: dict[str, Answer] = {}
        self._numbers = itertools.count(1)
        self.driver = Driver(model, self.deliver)

    def deliver(self, progress: Progress) -> None:
        """Hand a token to the answer it belongs to."""
        answer = self._answers.get(progress.request_id)
        if answer is None:
            return  # its client left within this step
        if progress.finish is not None:
            del self._answers[progress.request_id]
        answer.on_progress(progress)

    def take(self, exchange: Exchange) -> None:
        """Answer a POST to one of READERS; raises ApiError for what vLLM would refuse."""
        body = read_json(exchange.body)
        spelled = self._fault_in_model(body)
        ask = READERS[exchange.path][1](body, self._model.config)
        fault = self._fault(exchange.headers.get(FAULT_HEADER, "") or spelled)
        if fault is None or not self._fail_first(exchange, ask, fault):
            self._begin(exchange, ask, fault)

    def count(self, exchange: Exchange) -> None:
        """Answer what only the tokenizer works for, at once; raises ApiError for what vLLM would refuse."""
        body = read_json(exchange.body)
        self._fault_in_model(body)
        counted = count_for(exchange.path, body, self._model.config.max_model_len)
        exchange.reply(200, msgspec.json.encode(counted))

    def _fault_in_model(self, body: dict[str, Any]) -> str:
        """What stands behind the model's name. Raises ApiError when that is not ours."""
        name, _, spelled = str(body.get("model") or "").partition(FAULT_MARK)
        if name != self._options.model and name not in self._options.aliases:
            message = f"The model `{name}` does not exist. Valid aliases: {self._options.model}."
            raise ApiError(404, "NotFoundError", message, "model")
        return spelled

    def _fault(self, spelled: str) -> Fault | None:
        """The failure this request asks for, else what is in force for all."""
        if not spelled:
            return self._faults.for_request()
        try:
            return parse_fault(spelled)
        except ValueError as error:
            raise bad_request(str(error)) from None

    def _fail_first(self, exchange: Exchange, ask: Ask, fault: Fault) -> bool:
        """Failures before the first byte; False when this is none of them."""
        retry_after = (("Retry-After", str(int(fault.arg or 1))),)
        match fault.kind:
            case FaultKind.HTTP_500:
                error = ApiError(500, "InternalServerError", "Simulated failure")
                exchange.reply(500, error.body())
            case FaultKind.HTTP_429:
                error = ApiError(429, "RateLimitError", "Simulated rate limit")
                exchange.reply(429, error.body(), headers=retry_after)
            case FaultKind.HTTP_503:
                error = ApiError(503, "ServiceUnavailableError", "Simulated overload")
                exchange.reply(503, error.body(), headers=retry_after)
            case FaultKind.HTML_ERROR:
                exchange.reply(502, HTML, "text/html")
            case FaultKind.STALL_FIRST:
                self._stall(exchange, ask, fault)
            case FaultKind.DIE if not fault.arg:
                self._die()
            case _:
                return False
        return True

    def _stall(self, exchange: Exchange, ask: Ask, fault: Fault) -> None:
        """Say nothing, for ever or for some seconds."""
        if fault.arg is not None:
            begin = partial(self._begin, exchange, ask, None)
            exchange.on_gone = asyncio.get_running_loop().call_later(fault.arg, begin).cancel

    def _begin(self, exchange: Exchange, ask: Ask, fault: Fault | None) -> None:
        requests = self._requests(ask)
        try:
            for request in requests:
                self.driver.submit(request)
        except QueueFull as full:
            self._forget(requests)
            error = ApiError(503, "ServiceUnavailableError", f"The engine's queue is full: {full}")
            exchange.reply(503, error.body())
            return
        exchange.on_gone = partial(self._forget, requests)
        answer = self._answer(exchange, ask, fault)
        for request in requests:
            self._answers[request.request_id] = answer

    def _requests(self, ask: Ask) -> list[EngineRequest]:
        """What the engine computes for this: one sequence, or one for each text to embed."""
        if isinstance(ask, Embedding):
            return [EngineRequest(str(next(self._numbers)), tokens, 0, 0) for tokens in ask.prompt_tokens]
        room = self._model.config.max_model_len - ask.prompt_tokens
        request = EngineRequest(
            request_id=str(next(self._numbers)),
            prompt_tokens=ask.prompt_tokens,
            output_tokens=self._lengths.draw(ask, room),
            max_tokens=room if ask.max_tokens is None else ask.max_tokens,
            priority=ask.priority,
            block_hashes=ask.block_hashes,
        )
        return [request]

    def _answer(self, exchange: Exchange, ask: Ask, fault: Fault | None) -> Answer:
        ident = exchange.headers.get("x-request-id") or secrets.token_hex(8)
        told = Told(
            exchange=exchange,
            ident=f"{READERS[exchange.path][0]}-{ident}",
            created=int(time.time()),
            model=self._options.model,
            fault=fault,
            die=self._die,
        )
        if isinstance(ask, Embedding):
            return POOLED.get(exchange.path, EmbeddingAnswer)(told, ask)
        if ask.stream:
            return STREAMED.get(exchange.path, StreamedAnswer)(told, ask)
        return WHOLE.get(exchange.path, WholeAnswer)(
            told, ask, partial(self._orca, exchange.headers.get(ORCA_ASK, ""))
        )

    def _orca(self, form: str) -> tuple[tuple[str, str], ...]:
        """The load report in a header, when asked for; vLLM gives it on whole answers only."""
        match self._options.orca:
            case "never":
                return ()
            case "always":
                form = form or "JSON"
        usage, waiting = self._model.memory.usage, float(self._model.waiting)
        match form.upper():
            case "TEXT":
                report = (
                    f"named_metrics.kv_cache_usage_perc={usage}, named_metrics.num_requests_waiting={waiting}"
                )
            case "JSON":
                report = (
                    f'{{"named_metrics":{{"kv_cache_usage_perc":{usage},"num_requests_waiting":{waiting}}}}}'
                )
            case _:
                return ()
        return ((ORCA_TELL, f"{form.upper()} {report}"),)

    def _forget(self, requests: list[EngineRequest]) -> None:
        """The client left: nothing more is computed for it."""
        for request in requests:
            self.driver.abort(request.request_id)
            self._answers.pop(request.request_id, None)
