// What can never work is refused when the handler is wrapped; what is given is heard.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

import { InvalidSetting, MemoryStore } from "@hookplane/handler";
import { withWebhook } from "@hookplane/handler/web";

import { DELIVERY, delivered, options, signed } from "./support/signed.js";

const wrapped = (more, handler = () => new Response("ok")) => withWebhook(options(more), handler);
const call = async (handler, sent, url = "http://localhost/hooks") => handler(new Request(url, sent));

test("an unknown provider is refused unless its check is brought along", async () => {
  for (const provider of ["paddle", "Clerk", "", "constructor", undefined]) {
    assert.throws(() => wrapped({ provider }), (error) => error instanceof InvalidSetting && error.code === "provider_unsupported");
  }
  const seen = [];
  const handler = wrapped({
    provider: "paddle",
    signatureVerifier: (body, headers) => {
      seen.push(body.length, headers.get("X-Sign"), headers["x-sign"], headers["X-SIGN"], headers.other);
      return headers.get("x-sign") === "yes";
    },
  });
  assert.equal((await call(handler, { method: "POST", body: "abc", headers: { "X-Sign": "yes" } })).status, 200);
  assert.equal((await call(handler, { method: "POST", body: "abc", headers: { "X-Sign": "no" } })).status, 401);
  assert.deepEqual(seen.slice(0, 5), [3, "yes", "yes", "yes", undefined]);
});

test("a verifier that throws refuses and is named", async () => {
  const logged = [];
  const handler = wrapped({ signatureVerifier: () => { throw new Error("no key"); }, log: (_, detail) => logged.push(detail.reason) });
  assert.equal((await call(handler, await signed("msg_1", "{}"))).status, 401);
  assert.deepEqual(logged, ["verifier_threw"]);
});

test("a number that is none, or out of bounds, is refused", () => {
  for (const name of ["signatureTolerance", "idempotencyTtl", "leaseMs", "maxBodyBytes", "storeTimeoutMs"]) {
    for (const value of [NaN, -1, Infinity, "soon"]) {
      assert.throws(() => wrapped({ [name]: value }), (error) => error.code === "number" && error.message.includes(name), name);
    }
  }
  assert.throws(() => wrapped({ steps: ["Not A Name"] }), TypeError);
});

test("without a secret there is no wrap; with the gateway's alone only the gateway is believed", async () => {
  assert.throws(() => wrapped({ signatureSecret: undefined }), (error) => error.code === "secret_missing");
  const handler = wrapped({ signatureSecret: undefined, gatewaySecret: DELIVERY });
  assert.equal((await call(handler, await delivered("{}"))).status, 200);
  assert.equal((await call(handler, await signed("msg_1", "{}"))).status, 401);
});

test("keys tell sources, endpoints and messages apart", async () => {
  const keys = [];
  class Noting extends MemoryStore {
    claim(key, ...rest) {
      keys.push(key);
      return super.claim(key, ...rest);
    }
  }
  const store = new Noting();
  await call(wrapped({ store }), await signed("msg_1", "{}"));
  await call(wrapped({ store }), await signed("msg_1", "{}"), "http://localhost/other/?a=b");
  await call(wrapped({ store, source: "src_1", endpointName: "a/b" }), await signed("msg_1", "{}"));
  const own = (_, body, headers) => `${body.user}:${headers["Svix-Id"]}`;
  await call(wrapped({ store, idempotencyKey: own }), await signed("msg_1", '{"user":"u/1"}'));
  await call(wrapped({ store, idempotencyKey: () => undefined }), await signed("msg_1", "{}"));
  await call(wrapped({ store, idempotencyKey: () => "k".repeat(2000) }), await signed("msg_1", "{}"));
  assert.deepEqual(keys.slice(0, 4), [
    "clerk/%2Fhooks/msg_1", "clerk/%2Fother/msg_1", "src_1/a%2Fb/msg_1", "clerk/%2Fhooks/u%2F1:msg_1",
  ]);
  assert.equal(keys.length, 5);
  assert.match(keys[4], /^sha256\/[0-9a-f]{64}$/);
});

test("a claim that is granted too late is given back", async () => {
  let grant = () => {};
  const released = [];
  const store = {
    claim: () => new Promise((resolve) => { grant = () => resolve({ state: "new", token: "late" }); }),
    renew: async () => true,
    complete: async () => {},
    release: async (token) => { released.push(token); },
  };
  const handler = wrapped({ store, storeTimeoutMs: 5, onStoreError: "closed" });
  assert.equal((await call(handler, await signed("msg_1", "{}"))).status, 503);
  grant();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(released, ["late"]);
});

test("a web handler's answer is passed on as it is, with its cookies, its stream and the context it was given", async () => {
  const handler = wrapped({ store: new MemoryStore() }, async (request, { track, params }) => {
    track.completed();
    const { a } = await request.json();
    const headers = new Headers({ "set-cookie": "a=1" });
    headers.append("set-cookie", "b=2");
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode(`${params.id}${a}`.repeat(50_000)));
        controller.close();
      },
    });
    return new Response(stream, { headers });
  });
  const context = { params: { id: "x" } };
  const answer = await handler(new Request("http://localhost/hooks", await signed("msg_1", '{"a":7}')), context);
  assert.deepEqual(answer.headers.getSetCookie(), ["a=1", "b=2"]);
  assert.equal((await answer.text()).length, 100_000);
});

test("an answer whose headers cannot be changed has the verdict all the same", async () => {
  const handler = wrapped({ requireProcessingMark: true }, () => Response.redirect("http://localhost/else", 302));
  const answer = await call(handler, await signed("msg_1", "{}", { "hookplane-event-id": "evt_1" }));
  assert.deepEqual([answer.status, answer.headers.get("hookplane-outcome")], [302, "failed"]);
});

test("the package serves require too", () => {
  const required = createRequire(import.meta.url)("@hookplane/handler/web");
  assert.equal(typeof required.withWebhook, "function");
});
