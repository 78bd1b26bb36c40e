// Behind a real gateway: what a handler says of its work decides what becomes of the event.
// HOOKPLANE names the `hookplane` binary; `make sdk-js` builds it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createListener } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import express from "express5";
import { hmac, MemoryStore } from "@hookplane/handler";
import { webhook } from "@hookplane/handler/express";
import { init } from "@hookplane/handler/telemetry";

const binary = process.env.HOOKPLANE;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const DELIVERY = "a-secret-of-deliveries-1";

async function freePort() {
  const listener = createListener().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

/** Asks until the answer is as wanted. */
async function until(what, ask) {
  const end = Date.now() + 30_000;
  let last;
  while (Date.now() < end) {
    try {
      const found = await ask();
      if (found) {
        return found;
      }
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`never: ${what}`, { cause: last });
}

async function gateway(folder) {
  const [api, ingest, admin] = await Promise.all([freePort(), freePort(), freePort()]);
  const at = (port) => `127.0.0.1:${port}`;
  const child = spawn(binary, [
    "dev", "--quiet", "--data-dir", folder, "--api", at(api), "--ingest", at(ingest), "--admin", at(admin),
  ], { stdio: "ignore" });
  const base = `http://${at(api)}`;
  await until("the gateway is ready", async () => (await fetch(`${base}/readyz`)).ok);
  const key = readFileSync(join(folder, "admin.key"), "utf8").trim();
  const call = async (method, path, body) => {
    const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
    const answer = await fetch(base + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    const json = await answer.json();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
    return json;
  };
  return { call, ingest: `http://${at(ingest)}`, child };
}

async function send(url, id) {
  const body = Buffer.from(JSON.stringify({ type: "user.created", id }));
  const at = String(Math.floor(Date.now() / 1000));
  const key = Buffer.from(SECRET.slice(6), "base64");
  const tag = await hmac(key, Buffer.concat([Buffer.from(`${id}.${at}.`), body]));
  const headers = {
    "content-type": "application/json",
    "svix-id": id,
    "svix-timestamp": at,
    "svix-signature": `v1,${Buffer.from(tag).toString("base64")}`,
  };
  const answer = await fetch(url, { method: "POST", headers, body });
  assert.equal(answer.status, 200, await answer.text());
}

test("marks of a handler behind the gateway end, repeat or fail its events", { skip: binary ? false : "HOOKPLANE names no binary" }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "gateway-"));
  const runs = new Map();
  const app = express();
  const options = {
    provider: "hookplane",
    signatureSecret: DELIVERY,
    requireProcessingMark: true,
    steps: ["profile"],
    store: new MemoryStore(),
  };
  app.post("/hooks", webhook(options), (request, response) => {
    const { track } = request.webhook;
    const { id } = request.body;
    const run = (runs.get(id) ?? 0) + 1;
    runs.set(id, run);
    if (id === "msg_again" && run === 1) {
      track.failed("database is away", { retry: true });
    } else if (id !== "msg_dropped") {
      track.step("profile");
      track.completed();
    }
    response.json({ run });
  });
  const receiver = createServer(app).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const { call, ingest, child } = await gateway(folder);
  try {
    const source = await call("POST", "/v1/sources", {
      name: "Clerk",
      type: "CLERK",
      config: { auth_type: "PROVIDER_SIGNATURE", auth: { provider: "CLERK", webhook_signing_secret: SECRET } },
    });
    const destination = await call("POST", "/v1/destinations", {
      name: "profiles",
      type: "HTTP",
      config: {
        url: `http://127.0.0.1:${receiver.address().port}/hooks`,
        path_forwarding_disabled: true,
        reports_outcome: true,
        auth_type: "HOOKPLANE_SIGNATURE",
        auth: { secret: DELIVERY },
      },
    });
    await call("POST", "/v1/connections", {
      name: "all",
      source_id: source.id,
      destination_id: destination.id,
      rules: [{ type: "retry", strategy: "linear", count: 3, interval: 1000 }],
    });
    const url = `${ingest}/${source.id}`;
    await until("the agent has all of it", async () => (await call("GET", "/v1/configuration/wait")).applied);
    for (const id of ["msg_done", "msg_again", "msg_dropped"]) {
      // An agent that is not ready yet says so with 503, and a sender tries again.
      await until(`${id} is taken`, async () => {
        await send(url, id);
        return true;
      });
    }
    const events = async (query) => (await call("GET", `/v1/events?${query}`)).models;
    const done = await until("two are done", async () => {
      const found = await events("handler_outcome=COMPLETED");
      return found.length === 2 && found;
    });
    assert.deepEqual(done.map((event) => event.status), ["SUCCESSFUL", "SUCCESSFUL"]);
    assert.deepEqual(done.map((event) => event.attempts).sort(), [1, 2], "the one that asked for it was sent again");
    const [dropped] = await until("one is dropped", async () => {
      const found = await events("handler_outcome=SILENT_DROP");
      return found.length === 1 && found;
    });
    assert.equal(dropped.status, "FAILED");
    assert.equal(dropped.handler_reason, "steps not done: profile");
    assert.deepEqual([...runs].sort(), [["msg_again", 2], ["msg_done", 1], ["msg_dropped", 1]]);
  } finally {
    child.kill("SIGTERM");
    await once(child, "exit");
    receiver.closeAllConnections();
    receiver.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a verdict that a proxy takes out of the answer reaches the agent by a report", { skip: binary ? false : "HOOKPLANE names no binary" }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "reports-"));
  const app = express();
  const receiver = createServer(app).listen(0, "127.0.0.1");
  await once(receiver, "listening");
  const { call, ingest, child } = await gateway(folder);
  let telemetry;
  try {
    const source = await call("POST", "/v1/sources", {
      name: "Clerk",
      type: "CLERK",
      config: { auth_type: "PROVIDER_SIGNATURE", auth: { provider: "CLERK", webhook_signing_secret: SECRET } },
    });
    const { key } = await call("POST", "/v1/handler-keys", { name: "users", source_ids: [source.id] });
    const destination = await call("POST", "/v1/destinations", {
      name: "profiles",
      type: "HTTP",
      config: {
        url: `http://127.0.0.1:${receiver.address().port}/hooks`,
        path_forwarding_disabled: true,
        auth_type: "HOOKPLANE_SIGNATURE",
        auth: { secret: DELIVERY },
      },
    });
    await call("POST", "/v1/connections", { name: "all", source_id: source.id, destination_id: destination.id, rules: [] });
    telemetry = init({ apiKey: key, endpoint: ingest, flushIntervalMs: 20 });
    const proxy = (request, response, next) => {
      const end = response.end.bind(response);
      response.end = (...given) => {
        for (const name of response.getHeaderNames().filter((name) => name.startsWith("hookplane-"))) {
          response.removeHeader(name);
        }
        return end(...given);
      };
      next();
    };
    const options = { provider: "hookplane", signatureSecret: DELIVERY, source: source.id };
    app.post("/hooks", proxy, webhook(options), (request, response) => {
      request.webhook.track.ignored("nobody subscribed");
      response.json({});
    });
    await until("the agent has all of it", async () => (await call("GET", "/v1/configuration/wait")).applied);
    await until("it is taken", async () => {
      await send(`${ingest}/${source.id}`, "msg_1");
      return true;
    });
    const event = await until("the agent has the word of the handler", async () => {
      const found = (await call("GET", "/v1/events?handler_outcome=IGNORED")).models;
      return found[0];
    });
    assert.equal(event.handler_reason, "nobody subscribed");
    await until("it is counted", async () => telemetry.counts.sent === 1);
  } finally {
    await telemetry?.close();
    child.kill("SIGTERM");
    await once(child, "exit");
    receiver.closeAllConnections();
    receiver.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
