// What a wrapped handler does and does not, behind each framework.
import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryStore } from "@hookplane/handler";

import { adapters } from "./support/adapters.js";
import { BEHIND, DELIVERY, delivered, forced, options, signed, signedBySlack } from "./support/signed.js";

/** Those that see what their handler throws. */
const SEE_CRASHES = ["express 5, wrapped", "fastify", "fastify, plugin", "hono", "next.js page"];

for (const [name, start] of Object.entries(adapters)) {
  const scenario = (what, more, work, check) => test(`${name}: ${what}`, async () => {
    const running = await start(options(more), work);
    try {
      await check(running);
    } finally {
      await running.end();
    }
  });

  scenario("raw bytes are verified, kept and shown, and a health check is left alone", {},
    (_, body) => ({ json: { size: body.length } }),
    async ({ call, health }) => {
      const body = '{"n": 12345678901234567890,\r\n "10":1.0, "é":"\\u00e9\\/\\u003c"}\n';
      const answer = await call(await signed("msg_1", body));
      assert.equal(answer.status, 200);
      assert.deepEqual(await answer.json(), { size: Buffer.byteLength(body) });
      assert.equal(await health(), 200);
    });

  // A route of Fastify's has Fastify's parsers: it refuses broken JSON itself, once it is verified.
  scenario("a rightly signed body that is no text reaches its handler", {},
    (_, body) => ({ json: { size: body.length } }),
    async ({ call }) => {
      const body = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff, 0x00, 0xfe])]);
      const answer = await call(await signed("msg_1", body, BEHIND));
      assert.equal(answer.status, name === "fastify" ? 400 : 200);
      assert.equal(answer.headers.get("hookplane-outcome"), name === "fastify" ? "failed" : "completed");
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

  scenario("Slack's check of the address is answered when Slack signed it, and is no work",
    { provider: "slack", signatureSecret: "slack", store: new MemoryStore() },
    () => assert.fail("it ran"),
    async ({ call }) => {
      const body = JSON.stringify({ token: "t", type: "url_verification", challenge: "3eZbrw1aB" });
      const answer = await call(await signedBySlack(body, "slack"));
      assert.deepEqual([answer.status, await answer.text()], [200, "3eZbrw1aB"]);
      assert.match(answer.headers.get("content-type"), /^text\/plain/);
      assert.equal((await call(await signedBySlack(body, "another"))).status, 401);
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

  scenario("a repeat of an ignored message says ignored", { store: new MemoryStore() },
    (track) => {
      track.ignored("not ours");
      return { json: {} };
    },
    async ({ call }) => {
      const request = await signed("msg_1", "{}", BEHIND);
      for (const round of ["first", "repeated"]) {
        const { headers } = await call(request);
        assert.equal(headers.get("hookplane-outcome"), "ignored", round);
        assert.equal(headers.get("hookplane-outcome-reason"), "not%20ours", round);
      }
    });

  test(`${name}: work marked completed and answered with an error is not done`, async () => {
    let runs = 0;
    const running = await start(options({ store: new MemoryStore() }), (track) => {
      runs += 1;
      track.completed();
      return { json: { run: runs }, status: runs === 1 ? 503 : 200 };
    });
    const request = await signed("msg_1", "{}", BEHIND);
    const first = await running.call(request);
    assert.equal(first.headers.get("hookplane-outcome"), "failed");
    assert.equal(first.headers.get("hookplane-outcome-reason"), "answered%20503%20after%20completed");
    assert.deepEqual(await (await running.call(request)).json(), { run: 2 });
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
    await running.call({ ...request, body: '{"forged":1}' });
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
    const request = await signed("msg_1", "{}", BEHIND);
    const first = await running.call(request).catch(() => undefined);
    if (name !== "web") {
      assert.equal(first.status, 500);
      assert.equal(first.headers.get("hookplane-outcome"), SEE_CRASHES.includes(name) ? "crashed" : "failed");
    }
    assert.deepEqual(await (await running.call(request)).json(), { run: 2 });
    await running.end();
  });

  test(`${name}: a body past the bound is 413, also when it is not announced, and the handler does not run`, async () => {
    const running = await start(options({ maxBodyBytes: 1000 }), () => assert.fail("it ran"));
    const long = await signed("msg_1", "x".repeat(300_000));
    assert.equal((await running.call(long)).status, 413);
    const { readable, writable } = new TransformStream();
    const writer = writable.getWriter();
    const written = writer.write(long.body).then(() => writer.close()).catch(() => {});
    assert.equal((await running.call({ ...long, body: readable, duplex: "half" })).status, 413);
    await Promise.race([written, new Promise((resolve) => setImmediate(resolve))]);
    await running.end();
  });

  test(`${name}: deferred work keeps its message until the deadline`, async () => {
    let [runs, now] = [0, Date.now()];
    const store = new MemoryStore({ now: () => now });
    const deadline = new Date(now + 120_000);
    const running = await start(options({ store, leaseMs: 1_000 }), (track) => {
      runs += 1;
      if (runs === 1) {
        track.deferred({ deadline });
      }
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

  test(`${name}: a deadline that is none is the handler's mistake, and no deferral`, async () => {
    for (const deadline of [NaN, new Date("soon"), undefined, 5, Infinity, Date.now() + 8 * 24 * 3_600_000]) {
      let told;
      const running = await start(options(), (track) => {
        try {
          track.deferred({ deadline });
        } catch (error) {
          told = error.code;
          throw error;
        }
        return { json: {} };
      });
      const answer = await running.call(await signed("msg_1", "{}", BEHIND)).catch(() => undefined);
      assert.equal(told, "deadline", String(deadline));
      assert.notEqual(answer?.headers.get("hookplane-outcome"), "deferred");
      await running.end();
    }
  });

  scenario("an answer that is too large to keep leaves whole, and its repeat has its status alone", { store: new MemoryStore() },
    (track) => {
      track.completed();
      return { text: "y".repeat(100_000), status: 202 };
    },
    async ({ call }) => {
      const request = await signed("msg_1", "{}", BEHIND);
      const first = await call(request);
      assert.equal((await first.text()).length, 100_000);
      assert.equal(first.headers.get("hookplane-outcome"), "completed");
      const second = await call(request);
      assert.deepEqual([second.status, await second.text()], [202, ""]);
    });

  test(`${name}: behind the gateway its signature is enough, and only its force passes what is done`, async () => {
    let runs = 0;
    const both = { gatewaySecret: ["older-secret", DELIVERY], store: new MemoryStore() };
    const running = await start(options(both), () => {
      runs += 1;
      return { json: {} };
    });
    const id = { "svix-id": "msg_1" };
    const status = async (more, secret) => (await running.call(await delivered("{}", { ...id, ...more }, secret))).status;
    assert.equal(await status({}, "another"), 401);
    assert.equal(await status({}), 200);
    assert.equal(await status({}), 200);
    assert.equal(runs, 1);
    for (const wrong of [
      await forced("evt_2", "2"), await forced("evt_1", "3"), await forced("evt_1", "2", "another"),
      await forced("evt_1", "2", DELIVERY, "1700000000"), { "hookplane-force": "true" },
    ]) {
      await status(wrong);
      assert.equal(runs, 1, JSON.stringify(wrong));
    }
    await status(await forced("evt_1", "2"));
    assert.equal(runs, 2);
    assert.equal((await running.call(await signed("msg_2", "{}"))).status, 200, "the provider itself is believed too");
    await running.end();
  });
}
