// Reports: what is sent of a delivery, when, and what becomes of it while the agent is away, slow or full.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test } from "node:test";

import { withWebhook } from "@hookplane/handler/web";
import { init } from "@hookplane/handler/telemetry";

import { BEHIND, DELIVERY, delivered, options, signed } from "./support/signed.js";

const KEY = "hph_test";
const here = new URL("..", import.meta.url).pathname;
const { version } = JSON.parse(readFileSync(`${here}package.json`, "utf8"));

/** What an agent answers, and what it was told. */
async function agent(answers = []) {
  const calls = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) {
      parts.push(part);
    }
    const body = JSON.parse(Buffer.concat(parts).toString());
    calls.push({ path: request.url, key: request.headers.authorization, reports: body.reports });
    const [status, refused = () => []] = answers.shift() ?? [202];
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ accepted: 0, refused: refused(body.reports) }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { endpoint: `http://127.0.0.1:${server.address().port}`, calls, close };
}

async function until(what, holds) {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    if (await holds()) {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never: ${what}`);
}

/** Runs one handler on deliveries of the gateway. */
async function run(handler, count = 1, more = {}) {
  const wrapped = withWebhook({ provider: "hookplane", signatureSecret: DELIVERY, source: "src_1", log: () => {}, ...more }, handler);
  for (let at = 0; at < count; at += 1) {
    const request = await delivered(JSON.stringify({ type: "user.created", secret: "s3cret", at }));
    await wrapped(new Request("http://handler/hooks", request));
  }
}

const fine = (request, { track }) => {
  track.completed();
  return new Response("ok");
};
const broken = (request, { track }) => {
  track.failed("no such user", { retry: true });
  return new Response("ok");
};

test("a report says what came of a delivery, and nothing of its body or headers", async () => {
  const { endpoint, calls, close } = await agent();
  const telemetry = init({ apiKey: KEY, endpoint, release: "1.2.3", environment: "test", flushIntervalMs: 5 });
  try {
    await run((request, { track }) => {
      track.step("profile");
      track.failed("no such user", { retry: true });
      return new Response("ok");
    }, 1, { steps: ["profile", "mail"] });
    await until("it is sent", () => calls.length === 1);
    const { path, key, reports: [report] } = calls[0];
    assert.equal(path, "/handlers/v1/reports");
    assert.equal(key, `Bearer ${KEY}`);
    const { id, at, latency_ms: latency, size, ...rest } = report;
    assert.match(id, /^[0-9a-f]{24}$/);
    assert.ok(Date.parse(at) > 0 && latency >= 0 && size > 0);
    assert.deepEqual(rest, {
      source: "src_1", event_id: BEHIND["hookplane-event-id"], attempt: 2, outcome: "failed", reason: "no such user", retry: true,
      steps: { profile: "done", mail: "missing" }, endpoint: "/hooks", message_id: "evt_1", event_type: "user.created",
      status: 200, sample_rate: 1, sdk: `hookplane-js/${version}`, release: "1.2.3", environment: "test",
    });
    assert.ok(!JSON.stringify(calls).includes("s3cret"));
    await until("it is counted", () => telemetry.counts.sent === 1);
  } finally {
    await telemetry.close();
    close();
  }
});

test("a handler neither waits for an agent that is slow or away, nor sees it fail", async () => {
  const never = () => new Promise(() => {});
  for (const fetch of [never, () => Promise.reject(new Error("refused")), () => { throw new Error("broken"); }]) {
    const telemetry = init({ apiKey: KEY, endpoint: "http://127.0.0.1:9", flushIntervalMs: 0, fetch });
    await run(fine, 3);
    assert.equal(telemetry.counts.sent, 0);
    await telemetry.close(20);
    assert.ok(telemetry.counts.dropped <= 3);
  }
});

test("headers, bodies and metadata are sent where a wrap asks for them, without what has the name of a secret", async () => {
  const { endpoint, calls, close } = await agent();
  const redact = { headers: ["X-Customer"], fields: ["email", "data.card.last4", "nick_name"] };
  const telemetry = init({ apiKey: KEY, endpoint, redact, flushIntervalMs: 5 });
  const captured = { captureHeaders: true, captureBody: true, metadata: { team: "users" } };
  const wrapped = withWebhook({ provider: "hookplane", signatureSecret: DELIVERY, log: () => {}, ...captured }, fine);
  const send = async (body, more = {}) => wrapped(new Request("http://handler/hooks?token=s3cret", await delivered(body, more)));
  try {
    await send(JSON.stringify({
      type: "user.created",
      data: {
        name: "Ada", businessName: "open", last4: "open", card: { last4: "s3cret", brand: "open" }, nickName: "s3cret",
        list: [{ Access_Token: "s3cret", email: "s3cret", id: 1 }], api_key: { deep: "s3cret" }, "pass-word": 5, password: 0, pin: "s3cret",
      },
    }), { authorization: "Bearer s3cret", cookie: "a=s3cret", "x-customer": "s3cret", "x-api-key": "s3cret", "x-plan": "free" });
    await send(Buffer.from([0xff, 0x00]));
    await send(JSON.stringify("x".repeat(20_000)));
    await send(JSON.stringify({ type: "user.created", all: "x".repeat(70_000) }));
    await until("all are sent", () => telemetry.counts.sent === 4);
    const sent = JSON.stringify(calls.map(({ reports }) => reports));
    assert.ok(!sent.includes("s3cret"), sent);
    const [first, binary, long, longest] = calls.flatMap(({ reports }) => reports);
    assert.deepEqual(JSON.parse(first.body), {
      type: "user.created",
      data: {
        name: "Ada", businessName: "open", last4: "open", card: { last4: "[redacted]", brand: "open" }, nickName: "[redacted]",
        list: [{ Access_Token: "[redacted]", email: "[redacted]", id: 1 }], api_key: "[redacted]", "pass-word": "[redacted]",
        password: "[redacted]", pin: "[redacted]",
      },
    });
    assert.equal(first.headers["x-plan"], "free");
    for (const name of ["authorization", "cookie", "x-customer", "x-api-key", "hookplane-signature"]) {
      assert.equal(first.headers[name], "[redacted]", name);
    }
    assert.deepEqual(first.metadata, { team: "users" });
    assert.deepEqual([binary.body, long.body.length, longest.body, longest.event_type], [undefined, 8192, undefined, "user.created"]);
  } finally {
    await telemetry.close();
    close();
  }
});

test("a call has no more than an agent takes, and a report that grew too large is dropped", async () => {
  const { endpoint, calls, close } = await agent();
  const beforeSend = (report) => ({ ...report, reason: "x".repeat(report.reason === "large" ? 70_000 : 40_000) });
  const telemetry = init({ apiKey: KEY, endpoint, beforeSend, flushIntervalMs: 0 });
  try {
    await run(broken, 30);
    await run((request, { track }) => { track.failed("large"); return new Response("ok"); });
    await telemetry.flush();
    await until("all are sent", () => telemetry.counts.sent === 30);
    assert.equal(telemetry.counts.dropped, 1);
    assert.ok(calls.every(({ reports }) => JSON.stringify(reports).length < 310_000));
  } finally {
    await telemetry.close();
    close();
  }
});

test("a flush waits for what is on its way already", async () => {
  let answer;
  const fetch = () => new Promise((resolve) => { answer = () => resolve(Response.json({ refused: [] }, { status: 202 })); });
  const telemetry = init({ apiKey: KEY, endpoint: "http://127.0.0.1:9", flushIntervalMs: 60_000, fetch });
  try {
    await run(fine, 1);
    let ended = 0;
    const flush = () => telemetry.flush(60_000).then(() => { ended += 1; });
    const flushed = [flush()];
    await until("it is on its way", () => answer !== undefined);
    flushed.push(flush());
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([ended, telemetry.counts.waiting], [0, 0]);
    answer();
    await Promise.all(flushed);
    assert.equal(telemetry.counts.sent, 1);
  } finally {
    await telemetry.close();
  }
});

test("a reason that is no text, and a clock that is broken, harm no answer", async () => {
  const telemetry = init({ apiKey: KEY, endpoint: "http://127.0.0.1:9", flushIntervalMs: 60_000, now: () => { throw new Error("no time"); } });
  try {
    await run((request, { track }) => {
      track.failed(new Error("no such user"));
      return new Response("ok");
    });
    assert.equal(telemetry.counts.dropped, 1);
  } finally {
    await telemetry.close().catch(() => {});
  }
});

test("what could not be sent is sent later, in batches and once", async () => {
  const underWay = (reports) => [{ id: reports[0].id, code: "EVENT_UNDER_WAY", message: "later" }];
  const unknown = (reports) => [{ id: reports[0].id, code: "EVENT_UNKNOWN", message: "no" }];
  const { endpoint, calls, close } = await agent([[503], [429], [202, underWay], [202, unknown]]);
  const telemetry = init({ apiKey: KEY, endpoint, flushIntervalMs: 20, random: () => 0 });
  try {
    await run(broken, 150);
    await until("all of them are sent", () => telemetry.counts.sent + telemetry.counts.refused === 150);
    assert.deepEqual({ ...telemetry.counts }, { sent: 149, refused: 1, dropped: 0, left: 0, direct: 0, waiting: 0 });
    assert.ok(calls.every(({ reports }) => reports.length <= 100));
    const tried = calls.filter((call, at) => at > 1).flatMap(({ reports }) => reports.map(({ id }) => id));
    assert.equal(new Set(tried).size, 150);
  } finally {
    await telemetry.close();
    close();
  }
});

test("what the agent refuses for good is not sent again", async () => {
  const { endpoint, calls, close } = await agent([[401]]);
  const telemetry = init({ apiKey: KEY, endpoint, flushIntervalMs: 60_000 });
  try {
    await run(fine, 2);
    await telemetry.flush();
    await until("it was judged", () => telemetry.counts.refused > 0);
    assert.equal(calls.length, 1);
    assert.equal(telemetry.counts.waiting, 0);
  } finally {
    await telemetry.close();
    close();
  }
});

test("without room successes go first, and what is dropped is counted", async () => {
  const telemetry = init({ apiKey: KEY, endpoint: "http://127.0.0.1:9", maxQueue: 4, flushIntervalMs: 60_000, fetch: () => Promise.reject(new Error("away")) });
  try {
    await run(fine, 5);
    await run(broken, 3);
    assert.deepEqual([telemetry.counts.waiting, telemetry.counts.dropped], [4, 4]);
    await run(fine, 1);
    await run(broken, 2);
    assert.deepEqual([telemetry.counts.waiting, telemetry.counts.dropped], [4, 7]);
  } finally {
    await telemetry.close(1);
  }
});

test("sampling and the hook leave out what they are told to, and never a failure", async () => {
  const { endpoint, calls, close } = await agent();
  const beforeSend = (report) => report.reason === "throw"
    ? (() => { throw new Error("hook"); })()
    : { ...report, reason: report.reason === undefined ? undefined : "[redacted]" };
  const telemetry = init({ apiKey: KEY, endpoint, sampleRate: 0.25, random: () => 0.5, flushIntervalMs: 5, beforeSend });
  try {
    await run(fine, 4);
    await run(broken, 2);
    await run((request, { track }) => { track.failed("throw"); return new Response("ok"); });
    await telemetry.flush();
    await until("the failures are sent", () => telemetry.counts.sent === 2);
    assert.equal(telemetry.counts.left, 5);
    const reports = calls.flatMap(({ reports }) => reports);
    assert.ok(reports.every(({ outcome, reason, sample_rate: rate }) => outcome === "failed" && reason === "[redacted]" && rate === 1));
  } finally {
    await telemetry.close();
    close();
  }
});

test("a call without a gateway is counted and not sent: agents know their own deliveries", async () => {
  const telemetry = init({ apiKey: KEY, endpoint: "http://127.0.0.1:9", fetch: () => assert.fail("it was sent") });
  try {
    const wrapped = withWebhook(options(), fine);
    await wrapped(new Request("http://handler/hooks", await signed("msg_1", "{}")));
    await telemetry.flush();
    assert.equal(telemetry.counts.direct, 1);
  } finally {
    await telemetry.close();
  }
});

test("a function that freezes once it has answered is kept alive for its reports", async () => {
  const { endpoint, calls, close } = await agent();
  const kept = [];
  const context = Symbol.for("@next/request-context");
  globalThis[context] = { get: () => ({ waitUntil: (sending) => kept.push(sending) }) };
  const telemetry = init({ apiKey: KEY, endpoint, flushIntervalMs: 60_000 });
  try {
    await run(fine);
    assert.equal(kept.length, 1);
    await Promise.all(kept);
    assert.equal(calls.length, 1);
  } finally {
    delete globalThis[context];
    await telemetry.close();
    close();
  }
});

test("a process that ends sends what waits", async () => {
  const { endpoint, calls, close } = await agent();
  const script = `
    import { withWebhook } from "@hookplane/handler/web";
    import { init } from "@hookplane/handler/telemetry";
    import { DELIVERY, delivered } from "./test/support/signed.js";
    init({ flushIntervalMs: 60_000 });
    const wrapped = withWebhook({ provider: "hookplane", signatureSecret: DELIVERY }, () => new Response("ok"));
    await wrapped(new Request("http://handler/hooks", await delivered("{}")));`;
  const env = { ...process.env, HOOKPLANE_API_KEY: KEY, HOOKPLANE_ENDPOINT: endpoint, HOOKPLANE_RELEASE: "r7" };
  const child = import("node:child_process").then(({ execFile }) => new Promise((resolve, reject) => {
    execFile(process.execPath, ["--input-type=module", "-e", script], { cwd: here, env }, (error) => error ? reject(error) : resolve());
  }));
  try {
    await child;
    assert.equal(calls.length, 1);
    assert.equal(calls[0].reports[0].release, "r7");
  } finally {
    close();
  }
});

test("what can never work is refused at the start", () => {
  for (const [given, code] of [
    [{ endpoint: "http://agent" }, "api_key"],
    [{ apiKey: "hpk_wrong", endpoint: "http://agent" }, "api_key"],
    [{ apiKey: KEY }, "endpoint"],
    [{ apiKey: KEY, endpoint: "agent:8088" }, "endpoint"],
    [{ apiKey: KEY, endpoint: "http://agent/path" }, "endpoint"],
    [{ apiKey: KEY, endpoint: "http://agent", sampleRate: 2 }, "number"],
    [{ apiKey: KEY, endpoint: "http://agent", redact: { fields: [""] } }, "redact"],
  ]) {
    assert.throws(() => init(given), { code }, JSON.stringify(given));
  }
});
