"""LiteLLM as a client of an OpenAI-compatible server."""

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the price list is not fetched

import litellm
from loop import RUNNER, TIMEOUT_S, TOOL, dump, leave_in_line, lived, now, serve

TOOLS = [{"type": "function", "function": TOOL}]
litellm.suppress_debug_info = True


def told(message, usage):
    tools = [[tool.function.name, dump(tool.function.arguments)] for tool in message.tool_calls or []]
    return {"text": message.content or "", "tools": tools, "tokens": usage.completion_tokens}


class Driver:
    def request(self, call, **more):
        tools = {"tools": TOOLS} if call.tools else {}
        return {
            "model": f"openai/{call.model}",
            "messages": [{"role": "user", "content": call.prompt}],
            "api_base": f"{call.url}/v1",
            "api_key": call.key,
            "max_tokens": 8,
            "max_retries": call.retries,
            "timeout": TIMEOUT_S,
            "extra_headers": call.headers,
            **tools,
            **more,
        }

    def ask(self, call):
        answer = litellm.completion(**self.request(call))
        return told(answer.choices[0].message, answer.usage)

    def stream(self, call):
        options = {"stream_options": {"include_usage": True}} if call.usage else {}
        chunks = list(litellm.completion(**self.request(call, stream=True, **options)))
        whole = litellm.stream_chunk_builder(chunks)
        deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
        pieces = sum(bool(delta.content or delta.tool_calls) for delta in deltas)
        return {**told(whole.choices[0].message, whole.usage), "pieces": pieces}

    def embed(self, call):
        request = self.request(call, input=[call.prompt])
        del request["messages"], request["max_tokens"]
        return {"vector": litellm.embedding(**request).data[0]["embedding"]}

    def leave(self, call):
        """By cancelling who reads, as a web server does whose own client left."""
        came = asyncio.Event()

        async def read():
            async for chunk in await litellm.acompletion(**self.request(call, stream=True)):
                if chunk.choices[0].delta.content:
                    came.set()

        async def run():
            reading = asyncio.ensure_future(read())
            await came.wait()
            left = now()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            return left

        return RUNNER.run(lived(run()))

    def leave_in_line(self, call):
        async def ask():
            await litellm.acompletion(**self.request(call, stream=True))

        return leave_in_line(ask, call.until)


serve("litellm", Driver())
