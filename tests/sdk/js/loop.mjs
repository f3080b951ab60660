// What all JavaScript drivers share: one JSON line in, one JSON line out, for each thing a client is to do.

import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const TOOL = {
  name: "get_weather",
  description: "The weather in a city.",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
export const TIMEOUT_MS = 30_000;
const LOOK_EVERY_MS = 10;

export async function serve(name, driver) {
  const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  say({ version: JSON.parse(readFileSync(manifest)).version });
  for await (const line of createInterface({ input: process.stdin })) {
    const call = JSON.parse(line);
    let told;
    try {
      told = await driver[call.do](call);
    } catch (error) {
      told = { error: describe(error) };
    }
    say({ ...told, number: call.number });
  }
}

// The clock is CLOCK_MONOTONIC, as in Python.
export const now = () => ({ left_s: Number(process.hrtime.bigint()) / 1e9 });

// Asks, and gives up as soon as the file `until` is there, although nothing has come.
export async function leaveInLine(ask, until) {
  const leaving = new AbortController();
  const asked = ask(leaving.signal).catch(() => undefined);
  while (!existsSync(until)) await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  const left = now();
  leaving.abort();
  await asked;
  return left;
}

function describe(error) {
  const status = error.status ?? error.statusCode ?? error.lastError?.statusCode ?? null;
  return { type: error.constructor.name, status, message: String(error.message) };
}

function say(value) {
  process.stdout.write(JSON.stringify(value) + "\n");
}
