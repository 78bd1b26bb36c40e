// What a wrapped handler does and does not, through real servers.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { test } from "node:test";

import express4 from "express4";
import express5 from "express5";
import { hmac, MemoryStore } from "@hookplane/handler";
import { webhook } from "@hookplane/handler/express";
import { withWebhook } from "@hookplane/handler/web";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY = Buffer.from(SECRET.slice(6), "base64");
const quiet = { log: () => {} };

async function signed(id, body, more = {}) {
  const bytes = Buffer.from(body);
  const at = String(Math.floor(Date.now() / 1000));
  const tag = await hmac(KEY, Buffer.concat([Buffer.from(`${id}.${at}.`), bytes]));
  const headers = {
    "content-type": "application/json",
    "svix-id": id,
    "svix-timestamp": at,
    "svix-signature": `v1,${Buffer.from(tag).toString("base64")}`,
    ...more,
  };
  return { method: "POST", headers, body: bytes };
}

/** The same handler behind each adapter; gives how to call it and how to end. */
const adapters = {
  async web(options, work) {
    const handler = withWebhook(options, async (request, hook) => {
      const answer = await work(hook.track, Buffer.from(hook.body));
      return Response.json(answer.json, { status: answer.status ?? 200 });
    });
    return {
      call: (init) => handler(new Request("http://localhost/hooks", init)),
      health: async () => 200,
      end: async () => {},
    };
  },
  express4: (options, work) => served(express4, options, work),
  express5: (options, work) => served(express5, options, work),
};

async function served(express, options, work) {
  const app = express();
  app.get("/health", (_, response) => response.json({ ok: true }));
  app.post("/hooks", webhook(options), async (request, response, next) => {
    try {
      const answer = await work(request.webhook.track, Buffer.from(request.webhook.raw));
      response.status(answer.status ?? 200).json(answer.json);
    } catch (error) {
      next(error);
    }
  });
  app.use((error, _request, response, _next) => response.status(500).json({ error: String(error.message) }));
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${server.address().port}`;
  return {
    call: (init) => fetch(`${base}/hooks`, init),
    health: async () => (await fetch(`${base}/health`)).status,
    end: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const BEHIND = { "hookplane-event-id": "evt_1" };
const options = (more = {}) => ({ provider: "clerk", signatureSecret: SECRET, ...quiet, ...more });

for (const [name, start] of Object.entries(adapters)) {
  const scenario = (what, more, work, check) => test(`${name}: ${what}`, async () => {
    const running = await start(options(more), work);
    try {
      await check(running);
    } finally {
      await running.end();
    }
  });

  scenario("raw bytes are verified, kept and shown, a health check is left alone", {},
    (_, body) => ({ json: { size: body.length } }),
    async ({ call, health }) => {
      const body = Buffer.concat([Buffer.from('{"n":12345678901234567890, "é":"\\u00e9"}'), Buffer.from([0xff, 0])]);
      const answer = await call(await signed("msg_1", body));
      assert.equal(answer.status, 200);
      assert.deepEqual(await answer.json(), { size: body.length });
      assert.equal(await health(), 200);
    });

  scenario("a wrong signature is 401 without a reason, and the handler does not run", {},
    () => assert.fail("it ran"),
    async ({ call }) => {
      const request = await signed("msg_1", "{}");
      const answer = await call({ ...request, body: "{ }" });
      assert.equal(answer.status, 401);
      assert.deepEqual(await answer.json(), { error: "unauthorized", code: "SIGNATURE_INVALID" });
    });

  scenario("the verdict is in the answer behind the gateway and nowhere else",
    { requireProcessingMark: true, steps: ["profile", "billing"] },
    (track) => {
      track.step("profile");
      track.failed("no plan: é", { retry: true });
      track.completed();
      return { json: {} };
    },
    async ({ call }) => {
      const { headers } = await call(await signed("msg_1", "{}", BEHIND));
      assert.equal(headers.get("hookplane-outcome"), "failed");
      assert.equal(headers.get("hookplane-outcome-reason"), encodeURIComponent("no plan: é"));
      assert.equal(headers.get("hookplane-outcome-retry"), "true");
      assert.equal(headers.get("hookplane-outcome-steps"), "profile=done,billing=missing");
      const direct = await call(await signed("msg_2", "{}"));
      assert.equal(direct.headers.get("hookplane-outcome"), null);
    });

  scenario("a 2xx without a mark is a silent drop where marks are required", { requireProcessingMark: true },
    () => ({ json: {} }),
    async ({ call }) => {
      const answer = await call(await signed("msg_1", "{}", BEHIND));
      assert.equal(answer.headers.get("hookplane-outcome"), "silent_drop");
    });

  test(`${name}: a repeat of done work gets the recorded answer, and the work is done once`, async () => {
    let runs = 0;
    const running = await start(options({ store: new MemoryStore() }), (track) => {
      runs += 1;
      track.completed();
      return { json: { run: runs }, status: 201 };
    });
    const request = await signed("msg_1", "{}");
    const [first, second] = [await running.call(request), await running.call(request)];
    const bodies = [await first.json(), await second.json()];
    assert.deepEqual([first.status, second.status, runs], [201, 201, 1]);
    assert.deepEqual(bodies, [{ run: 1 }, { run: 1 }]);
    assert.match(second.headers.get("content-type"), /application\/json/);
    await running.end();
  });

  test(`${name}: a repeat meanwhile is 409, and failed or dropped work may be done again`, async () => {
    let [runs, go] = [0, () => {}];
    const begun = new Promise((resolve) => { go = resolve; });
    let release = () => {};
    const held = new Promise((resolve) => { release = resolve; });
    const running = await start(options({ store: new MemoryStore() }), async (track) => {
      runs += 1;
      if (runs === 1) {
        go();
        await held;
        track.failed("away", { retry: true });
      }
      return { json: { run: runs } };
    });
    const request = await signed("msg_1", "{}");
    const first = running.call(request);
    await begun;
    const meanwhile = await running.call(request);
    assert.equal(meanwhile.status, 409);
    assert.ok(Number(meanwhile.headers.get("retry-after")) >= 1);
    release();
    assert.equal((await first).status, 200);
    assert.deepEqual(await (await running.call(request)).json(), { run: 2 });
    await running.end();
  });

  test(`${name}: forged requests never enter the store, observed or not`, async () => {
    let runs = 0;
    const store = new MemoryStore();
    const running = await start(options({ store, rejectInvalidSignatures: false }), () => {
      runs += 1;
      return { json: {} };
    });
    const request = await signed("msg_1", "{}");
    await running.call({ ...request, body: "forged" });
    assert.equal((await running.call(request)).status, 200);
    assert.equal(runs, 2, "a forged request took the place of the real one");
    await running.end();
  });

  test(`${name}: a store that never answers holds nobody up, and closes when told to`, async () => {
    const never = () => new Promise(() => {});
    const store = { claim: never, renew: never, complete: never, release: never };
    for (const [onStoreError, status] of [["open", 200], ["closed", 503]]) {
      const running = await start(options({ store, storeTimeoutMs: 20, onStoreError }), () => ({ json: {} }));
      const answer = await running.call(await signed("msg_1", "{}"));
      assert.equal(answer.status, status);
      await running.end();
    }
  });

  test(`${name}: a handler that throws leaves its message to the next try`, async () => {
    let runs = 0;
    const running = await start(options({ store: new MemoryStore() }), () => {
      runs += 1;
      if (runs === 1) {
        throw new Error("broken");
      }
      return { json: { run: runs } };
    });
    const request = await signed("msg_1", "{}");
    await running.call(request).then((answer) => assert.equal(answer.status, 500), () => {});
    assert.deepEqual(await (await running.call(request)).json(), { run: 2 });
    await running.end();
  });
}

for (const [name, start] of Object.entries(adapters)) {
  test(`${name}: a body past the bound is 413, and the handler does not run`, async () => {
    const running = await start(options({ maxBodyBytes: 1000 }), () => assert.fail("it ran"));
    const answer = await running.call(await signed("msg_1", "x".repeat(1001)));
    assert.equal(answer.status, 413);
    await running.end();
  });

  test(`${name}: deferred work keeps its message until the deadline`, async () => {
    let [runs, now] = [0, Date.now()];
    const store = new MemoryStore(10, () => now);
    const deadline = new Date(now + 120_000);
    const running = await start(options({ store, leaseMs: 1_000 }), (track) => {
      runs += 1;
      track.deferred({ deadline });
      return { json: {} };
    });
    const request = await signed("msg_1", "{}", BEHIND);
    const first = await running.call(request);
    const seconds = Math.floor(deadline.getTime() / 1000);
    assert.match(first.headers.get("hookplane-deferral"), new RegExp(`^dfr_[0-9a-f]{32}; deadline=${seconds}$`));
    now += 100_000;
    assert.equal((await running.call(request)).status, 409, "its lease ended before its deadline");
    now += 30_000;
    await running.call(request);
    assert.equal(runs, 2, "past its deadline it may be done again");
    await running.end();
  });
}

test("a body that a parser consumed is named", async () => {
  const app = express5();
  app.use(express5.json());
  app.post("/hooks", webhook(options()), (_, response) => response.json({}));
  let told = "";
  app.use((error, _request, response, _next) => {
    told = error.message;
    response.status(500).end();
  });
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  await fetch(`http://127.0.0.1:${server.address().port}/hooks`, await signed("msg_1", "{}"));
  server.closeAllConnections();
  server.close();
  assert.match(told, /^already_parsed/);
});

test("behind the gateway its own signature is enough", async () => {
  const body = Buffer.from("{}");
  const at = String(Math.floor(Date.now() / 1000));
  const tag = await hmac(Buffer.from("shared"), Buffer.concat([Buffer.from(`${at}.`), body]));
  const handler = withWebhook({ provider: "hookplane", signatureSecret: ["older", "shared"], ...quiet }, () => new Response("ok"));
  const headers = { "hookplane-timestamp": at, "hookplane-signature": `v1=${Buffer.from(tag).toString("hex")}`, ...BEHIND };
  const answer = await handler(new Request("http://localhost/", { method: "POST", headers, body }));
  assert.deepEqual([answer.status, answer.headers.get("hookplane-outcome")], [200, "completed"]);
});

test("the package serves require too", () => {
  const required = createRequire(import.meta.url)("@hookplane/handler/web");
  assert.equal(typeof required.withWebhook, "function");
});
