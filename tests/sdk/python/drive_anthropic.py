"""Anthropic's SDK for Python."""

import anthropic
from loop import TIMEOUT_S, TOOL, leave_in_line, now, serve

TOOLS = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}]


def told(message):
    tools = [[block.name, block.input] for block in message.content if block.type == "tool_use"]
    text = "".join(block.text for block in message.content if block.type == "text")
    return {"text": text, "tools": tools, "tokens": message.usage.output_tokens}


class Driver:
    def client(self, call, kind=anthropic.Anthropic):
        options = {"max_retries": call.retries, "default_headers": call.headers, "timeout": TIMEOUT_S}
        return kind(base_url=call.url, api_key=call.key, **options)

    def request(self, call):
        tools = {"tools": TOOLS} if call.tools else {}
        messages = [{"role": "user", "content": call.prompt}]
        return {"model": call.model, "messages": messages, "max_tokens": 8, **tools}

    def models(self, call):
        with self.client(call) as client:
            return {"models": [model.id for model in client.models.list()]}

    def ask(self, call):
        with self.client(call) as client:
            return told(client.messages.create(**self.request(call)))

    def stream(self, call):
        pieces = 0
        with self.client(call) as client, client.messages.stream(**self.request(call)) as stream:
            for event in stream:
                pieces += event.type == "content_block_delta"
            return {**told(stream.get_final_message()), "pieces": pieces}

    def count(self, call):
        request = self.request(call)
        del request["max_tokens"]
        with self.client(call) as client:
            return {"tokens": client.messages.count_tokens(**request).input_tokens}

    def leave(self, call):
        with self.client(call) as client:
            stream = client.messages.create(**self.request(call), stream=True)
            for event in stream:
                if event.type == "content_block_delta":
                    break
            left = now()
            stream.close()
            return left

    def leave_in_line(self, call):
        async def ask():
            async with self.client(call, anthropic.AsyncAnthropic) as client:
                await client.messages.create(**self.request(call), stream=True)

        return leave_in_line(ask, call.until)


serve("anthropic", Driver())
