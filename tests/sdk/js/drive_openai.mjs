// OpenAI's SDK for JavaScript.

import OpenAI from "openai";
import { leaveInLine, now, serve, TIMEOUT_MS, TOOL } from "./loop.mjs";

const TOOLS = [{ type: "function", function: TOOL }];

const clientOf = (call) =>
  new OpenAI({
    baseURL: `${call.url}/v1`,
    apiKey: call.key,
    maxRetries: call.retries,
    defaultHeaders: call.headers,
    timeout: TIMEOUT_MS,
  });

const requestOf = (call, more = {}) => ({
  model: call.model,
  messages: [{ role: "user", content: call.prompt }],
  max_tokens: 8,
  ...(call.tools ? { tools: TOOLS } : {}),
  ...more,
});

const driver = {
  async models(call) {
    const models = [];
    for await (const model of clientOf(call).models.list()) models.push(model.id);
    return { models };
  },

  async ask(call) {
    const answer = await clientOf(call).chat.completions.create(requestOf(call));
    const message = answer.choices[0].message;
    const tools = (message.tool_calls ?? []).map((tool) => [tool.function.name, JSON.parse(tool.function.arguments)]);
    return { text: message.content ?? "", tools, tokens: answer.usage.completion_tokens };
  },

  async stream(call) {
    const more = { stream: true, ...(call.usage ? { stream_options: { include_usage: true } } : {}) };
    const pieces = [];
    let [name, args, tokens] = ["", "", 0];
    for await (const chunk of await clientOf(call).chat.completions.create(requestOf(call, more))) {
      tokens = chunk.usage?.completion_tokens ?? tokens;
      for (const choice of chunk.choices ?? []) {
        if (choice.delta.content) pieces.push(choice.delta.content);
        for (const tool of choice.delta.tool_calls ?? []) {
          name ||= tool.function.name;
          args += tool.function.arguments ?? "";
        }
      }
    }
    return { text: pieces.join(""), pieces: pieces.length, tools: name ? [[name, JSON.parse(args)]] : [], tokens };
  },

  async embed(call) {
    const answer = await clientOf(call).embeddings.create({ model: call.model, input: call.prompt });
    return { vector: answer.data[0].embedding };
  },

  async respond(call) {
    const answer = await clientOf(call).responses.create({ model: call.model, input: call.prompt });
    return { text: answer.output_text, tokens: answer.usage.output_tokens };
  },

  async respond_streamed(call) {
    const pieces = [];
    let last;
    const request = { model: call.model, input: call.prompt, stream: true };
    for await (const event of await clientOf(call).responses.create(request)) {
      last = event;
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    }
    return { text: pieces.join(""), pieces: pieces.length, open: last?.type !== "response.completed" };
  },

  async leave(call) {
    const stream = await clientOf(call).chat.completions.create(requestOf(call, { stream: true }));
    let left;
    for await (const chunk of stream) {
      if (!chunk.choices[0]?.delta.content) continue;
      left = now();
      break; // ends the stream, says the SDK
    }
    return left;
  },

  leave_in_line: (call) =>
    leaveInLine(
      (signal) => clientOf(call).chat.completions.create(requestOf(call, { stream: true }), { signal }),
      call.until,
    ),
};

await serve("openai", driver);
