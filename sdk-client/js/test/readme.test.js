// The quick starts of the README, run as they stand but for the services they call.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { hmac } from "@hookplane/handler";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
process.env.CLERK_WEBHOOK_SECRET = SECRET;

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const blocks = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((found) => found[1]);
const services = "const made = []; const createProfile = async (data) => made.push(data.id); const sendMail = async () => {};\n";

/** A module of the block; what it calls by itself stands before it, what the test needs behind. */
async function run(name, block, more) {
  const file = new URL(`./.readme-${name}.mjs`, import.meta.url);
  writeFileSync(file, services + block + more);
  try {
    return await import(file);
  } finally {
    rmSync(file);
  }
}

async function signed() {
  const body = Buffer.from(JSON.stringify({ type: "user.created", data: { id: "user_1" } }));
  const at = String(Math.floor(Date.now() / 1000));
  const message = Buffer.concat([Buffer.from(`msg_1.${at}.`), body]);
  const tag = await hmac(Buffer.from(SECRET.slice(6), "base64"), message);
  const headers = {
    "content-type": "application/json",
    "hookplane-event-id": "evt_1",
    "svix-id": "msg_1",
    "svix-timestamp": at,
    "svix-signature": `v1,${Buffer.from(tag).toString("base64")}`,
  };
  return { method: "POST", headers, body };
}

test("the quick start of Express", async () => {
  const block = blocks.find((one) => one.includes("@hookplane/handler/express")).replace('from "express"', 'from "express5"');
  const { app, made } = await run("express", block, "\nexport { app, made };\n");
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  const answer = await fetch(`http://127.0.0.1:${server.address().port}/hooks/clerk`, await signed());
  server.closeAllConnections();
  server.close();
  assert.deepEqual(await answer.json(), { ok: true });
  assert.equal(answer.headers.get("hookplane-outcome"), "completed");
  assert.equal(answer.headers.get("hookplane-outcome-steps"), "profile=done,welcome-mail=done");
  assert.deepEqual(made, ["user_1"]);
});

test("the quick start of Next.js, App Router", async () => {
  const block = blocks.find((one) => one.includes("export const POST"));
  const { POST, made } = await run("app", block, "\nexport { made };\n");
  const answer = await POST(new Request("http://localhost/api/hooks", await signed()));
  assert.deepEqual(await answer.json(), { ok: true });
  assert.equal(answer.headers.get("hookplane-outcome"), "completed");
  assert.deepEqual(made, ["user_1"]);
});

test("the quick start of Fastify", async () => {
  const block = blocks.find((one) => one.includes("@hookplane/handler/fastify"));
  const { app, made } = await run("fastify", block, "\nexport { app, made };\n");
  const { body, ...sent } = await signed();
  const answer = await app.inject({ ...sent, payload: body, url: "/hooks/clerk" });
  assert.deepEqual(answer.json(), { ok: true });
  assert.equal(answer.headers["hookplane-outcome"], "completed");
  assert.deepEqual(made, ["user_1"]);
});

test("the quick start of Hono", async () => {
  const block = blocks.find((one) => one.includes("@hookplane/handler/hono"));
  const { app, made } = await run("hono", block, "\nexport { app, made };\n");
  const answer = await app.request("/hooks/clerk", await signed());
  assert.deepEqual(await answer.json(), { ok: true });
  assert.equal(answer.headers.get("hookplane-outcome"), "completed");
  assert.deepEqual(made, ["user_1"]);
});

test("the start of reports, and how they end", async () => {
  const block = blocks.find((one) => one.includes("@hookplane/handler/telemetry"));
  Object.assign(process.env, { HOOKPLANE_API_KEY: "hph_test", HOOKPLANE_ENDPOINT: "http://127.0.0.1:9" });
  const { telemetry } = await run("telemetry", block, "\nexport { telemetry };\n");
  assert.equal(telemetry.counts.waiting, 0);
  await telemetry.close();
});
