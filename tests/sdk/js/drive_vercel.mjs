// Vercel's AI SDK with its provider for OpenAI-compatible servers.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, jsonSchema, streamText, tool } from "ai";
import { leaveInLine, now, serve, TOOL } from "./loop.mjs";

const TOOLS = {
  [TOOL.name]: tool({ description: TOOL.description, inputSchema: jsonSchema(TOOL.parameters) }),
};

const providerOf = (call) =>
  createOpenAICompatible({
    name: "fairlane",
    baseURL: `${call.url}/v1`,
    apiKey: call.key,
    headers: call.headers,
    includeUsage: call.usage,
  });

const requestOf = (call, more = {}) => ({
  model: providerOf(call).chatModel(call.model),
  prompt: call.prompt,
  maxOutputTokens: 8,
  maxRetries: call.retries,
  ...(call.tools ? { tools: TOOLS } : {}),
  ...more,
});

const told = (text, toolCalls, usage) => ({
  text,
  tools: toolCalls.map((made) => [made.toolName, made.input]),
  tokens: usage.outputTokens ?? 0,
});

const driver = {
  async ask(call) {
    const { text, toolCalls, usage } = await generateText(requestOf(call));
    return told(text, toolCalls, usage);
  },

  async stream(call) {
    const errors = [];
    let pieces = 0;
    const result = streamText(requestOf(call, { onError: () => undefined }));
    try {
      for await (const part of result.fullStream) {
        if (part.type === "text-delta" || part.type === "tool-input-delta") pieces += 1;
        if (part.type === "error") errors.push(part.error);
      }
    } catch (error) {
      errors.push(error); // a break behind an error part
    }
    if (errors.length) throw errors[0];
    const finish = await result.finishReason;
    if (finish === "error") throw new Error("finish reason: error");
    return { ...told(await result.text, await result.toolCalls, await result.usage), pieces, finish };
  },

  async embed(call) {
    const model = providerOf(call).textEmbeddingModel(call.model);
    return { vector: (await embed({ model, value: call.prompt, maxRetries: call.retries })).embedding };
  },

  async leave(call) {
    const leaving = new AbortController();
    const result = streamText(requestOf(call, { abortSignal: leaving.signal, onError: () => undefined }));
    let left;
    for await (const part of result.fullStream) {
      if (part.type !== "text-delta" || left) continue;
      left = now();
      leaving.abort();
    }
    return left;
  },

  leave_in_line: (call) =>
    leaveInLine(
      (abortSignal) => streamText(requestOf(call, { abortSignal, onError: () => undefined })).consumeStream(),
      call.until,
    ),
};

await serve("ai", driver);
