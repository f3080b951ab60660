// Anthropic's SDK for JavaScript.

import Anthropic from "@anthropic-ai/sdk";
import { leaveInLine, now, serve, TIMEOUT_MS, TOOL } from "./loop.mjs";

const TOOLS = [{ name: TOOL.name, description: TOOL.description, input_schema: TOOL.parameters }];

const clientOf = (call) =>
  new Anthropic({
    baseURL: call.url,
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

function told(message) {
  const text = message.content.filter((block) => block.type === "text").map((block) => block.text);
  const tools = message.content.filter((block) => block.type === "tool_use").map((block) => [block.name, block.input]);
  return { text: text.join(""), tools, tokens: message.usage.output_tokens };
}

const driver = {
  async models(call) {
    const models = [];
    for await (const model of clientOf(call).models.list()) models.push(model.id);
    return { models };
  },

  ask: async (call) => told(await clientOf(call).messages.create(requestOf(call))),

  async stream(call) {
    let pieces = 0;
    const stream = clientOf(call).messages.stream(requestOf(call));
    for await (const event of stream) pieces += event.type === "content_block_delta";
    return { ...told(await stream.finalMessage()), pieces };
  },

  async count(call) {
    const { max_tokens, ...request } = requestOf(call);
    return { tokens: (await clientOf(call).messages.countTokens(request)).input_tokens };
  },

  async leave(call) {
    let left;
    for await (const event of await clientOf(call).messages.create(requestOf(call, { stream: true }))) {
      if (event.type !== "content_block_delta") continue;
      left = now();
      break; // ends the stream, says the SDK
    }
    return left;
  },

  leave_in_line: (call) =>
    leaveInLine(
      (signal) => clientOf(call).messages.create(requestOf(call, { stream: true }), { signal }),
      call.until,
    ),
};

await serve("@anthropic-ai/sdk", driver);
