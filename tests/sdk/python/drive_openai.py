"""OpenAI's SDK for Python."""

import openai
from loop import TIMEOUT_S, TOOL, dump, leave_in_line, now, serve

TOOLS = [{"type": "function", "function": TOOL}]


class Driver:
    def client(self, call, kind=openai.OpenAI):
        options = {"max_retries": call.retries, "default_headers": call.headers, "timeout": TIMEOUT_S}
        return kind(base_url=f"{call.url}/v1", api_key=call.key, **options)

    def request(self, call, **more):
        tools = {"tools": TOOLS} if call.tools else {}
        messages = [{"role": "user", "content": call.prompt}]
        return {"model": call.model, "messages": messages, "max_tokens": 8, **tools, **more}

    def models(self, call):
        with self.client(call) as client:
            return {"models": [model.id for model in client.models.list()]}

    def ask(self, call):
        with self.client(call) as client:
            answer = client.chat.completions.create(**self.request(call))
        message = answer.choices[0].message
        tools = [[tool.function.name, dump(tool.function.arguments)] for tool in message.tool_calls or []]
        return {"text": message.content or "", "tools": tools, "tokens": answer.usage.completion_tokens}

    def stream(self, call):
        pieces, name, arguments, tokens = [], "", "", 0
        options = {"include_usage": True} if call.usage else openai.omit
        with self.client(call) as client:
            stream = client.chat.completions.create(**self.request(call, stream=True, stream_options=options))
            for chunk in stream:
                tokens = chunk.usage.completion_tokens if chunk.usage else tokens
                for choice in chunk.choices or []:
                    pieces += [choice.delta.content] if choice.delta.content else []
                    for tool in choice.delta.tool_calls or []:
                        name = tool.function.name or name
                        arguments += tool.function.arguments or ""
        tools = [[name, dump(arguments)]] if name else []
        return {"text": "".join(pieces), "pieces": len(pieces), "tools": tools, "tokens": tokens}

    def embed(self, call):
        with self.client(call) as client:
            return {"vector": client.embeddings.create(model=call.model, input=call.prompt).data[0].embedding}

    def respond(self, call):
        with self.client(call) as client:
            answer = client.responses.create(model=call.model, input=call.prompt)
        return {"text": answer.output_text, "tokens": answer.usage.output_tokens}

    def respond_streamed(self, call):
        pieces, last = [], None
        with self.client(call) as client:
            for event in client.responses.create(model=call.model, input=call.prompt, stream=True):
                last = event
                pieces += [event.delta] if event.type == "response.output_text.delta" else []
        if last is None or last.type != "response.completed":
            return {"text": "".join(pieces), "pieces": len(pieces), "open": True}
        return {"text": last.response.output_text, "pieces": len(pieces)}

    def leave(self, call):
        with self.client(call) as client:
            stream = client.chat.completions.create(**self.request(call, stream=True))
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    break
            left = now()
            stream.close()
            return left

    def leave_in_line(self, call):
        async def ask():
            async with self.client(call, openai.AsyncOpenAI) as client:
                await client.chat.completions.create(**self.request(call, stream=True))

        return leave_in_line(ask, call.until)


serve("openai", Driver())
