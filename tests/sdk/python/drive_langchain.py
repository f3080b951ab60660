"""LangChain's client of OpenAI-compatible servers."""

from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from loop import TIMEOUT_S, TOOL, leave_in_line, now, serve

TOOLS = [{"type": "function", "function": TOOL}]


def told(message):
    tools = [[tool["name"], tool["args"]] for tool in message.tool_calls]
    usage = message.usage_metadata or {}
    return {"text": str(message.text), "tools": tools, "tokens": usage.get("output_tokens", 0)}


class Driver:
    def model(self, call):
        model = ChatOpenAI(
            base_url=f"{call.url}/v1",
            api_key=call.key,
            model=call.model,
            max_tokens=8,
            max_retries=call.retries,
            timeout=TIMEOUT_S,
            default_headers=call.headers,
            stream_usage=call.usage,
        )
        return model.bind_tools(TOOLS) if call.tools else model

    def ask(self, call):
        return told(self.model(call).invoke(call.prompt))

    def stream(self, call):
        whole, pieces = None, 0
        for chunk in self.model(call).stream(call.prompt):
            whole = chunk if whole is None else whole + chunk
            pieces += bool(chunk.text or chunk.tool_call_chunks)
        return {**told(whole), "pieces": pieces}

    def embed(self, call):
        embeddings = OpenAIEmbeddings(
            base_url=f"{call.url}/v1",
            api_key=call.key,
            model=call.model,
            check_embedding_ctx_length=False,  # without it the client needs OpenAI's own tokenizer files
        )
        return {"vector": embeddings.embed_query(call.prompt)}

    def leave(self, call):
        stream = self.model(call).stream(call.prompt)
        while not next(stream).text:
            pass
        left = now()
        stream.close()
        return left

    def leave_in_line(self, call):
        async def ask():
            async for _ in self.model(call).astream(call.prompt):
                pass

        return leave_in_line(ask, call.until)


serve("langchain-openai", Driver())
