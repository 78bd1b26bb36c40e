// What is Express's own: parsers, heads that leave early, callers that hang up.
import assert from "node:assert/strict";
import { createServer, request as open } from "node:http";
import { once } from "node:events";
import { Readable } from "node:stream";
import { test } from "node:test";

import express4 from "express4";
import express5 from "express5";
import { MemoryStore } from "@hookplane/handler";
import { webhook } from "@hookplane/handler/express";

import { serving } from "./support/adapters.js";
import { BEHIND, options, signed } from "./support/signed.js";

for (const [name, express] of [["express 4", express4], ["express 5", express5]]) {
  const answering = async (handler, more = {}) => {
    const app = express();
    app.post("/hooks", webhook(options(more)), handler);
    return serving(createServer(app));
  };

  const early = {
    "writeHead with an object": (response) => response.writeHead(201, { "content-type": "text/plain" }).end("done"),
    "writeHead with a text and a list": (response) => response.writeHead(201, "Made", ["content-type", "text/plain"]).end("done"),
    "flushHeaders": (response) => {
      response.status(201).type("text/plain").flushHeaders();
      response.write("do");
      response.end("ne");
    },
    "a pipe": (response) => {
      response.status(201).type("text/plain");
      Readable.from(["do", "ne"]).pipe(response);
    },
    "a callback": (response) => {
      response.writeHead(201, { "content-type": "text/plain" });
      response.write("do", () => response.end("ne", "utf8", () => {}));
    },
  };
  for (const [what, answer] of Object.entries(early)) {
    test(`${name}: the verdict is in a head that leaves early by ${what}`, async () => {
      const running = await answering(({ webhook: { track } }, response) => {
        answer(response);
        track.failed("late", { retry: true });
      });
      const got = await running.call(await signed("msg_1", "{}", BEHIND));
      assert.deepEqual([got.status, got.headers.get("content-type")?.slice(0, 10), await got.text()], [201, "text/plain", "done"]);
      assert.equal(got.headers.get("hookplane-outcome"), what === "a pipe" || what === "a callback" ? "failed" : "completed");
      await running.end();
    });
  }

  test(`${name}: an answer of any length leaves whole and is held only up to its bound`, async () => {
    const running = await answering(async ({ webhook: { track } }, response) => {
      track.completed();
      for (let at = 0; at < 300; at += 1) {
        if (!response.write("z".repeat(10_000))) {
          await once(response, "drain");
        }
      }
      response.end();
    }, { store: new MemoryStore() });
    const got = await running.call(await signed("msg_1", "{}", BEHIND));
    assert.equal(got.headers.get("hookplane-outcome"), "completed");
    assert.equal((await got.text()).length, 3_000_000);
    await running.end();
  });

  test(`${name}: a caller that hangs up leaves the message with the handler that works on it`, async () => {
    let [runs, begun, goOn] = [0, () => {}, () => {}];
    const beginning = new Promise((resolve) => { begun = resolve; });
    const going = new Promise((resolve) => { goOn = resolve; });
    const store = new MemoryStore();
    let stored = () => {};
    const done = new Promise((resolve) => { stored = resolve; });
    const complete = store.complete.bind(store);
    store.complete = async (...all) => complete(...all).then(stored);
    const running = await answering(async ({ webhook: { track } }, response) => {
      runs += 1;
      const gone = once(response, "close");
      begun();
      await gone;
      await going;
      track.completed();
      response.json({ run: runs });
    }, { store });
    const sent = await signed("msg_1", "{}");
    const first = open(`${running.base}/hooks`, { method: "POST", headers: sent.headers });
    first.on("error", () => {});
    first.end(sent.body);
    await beginning;
    first.destroy();
    assert.equal((await running.call(sent)).status, 409, "a second run began beside the first");
    goOn();
    await done;
    assert.deepEqual(await (await running.call(sent)).json(), { run: 1 });
    assert.equal(runs, 1);
    await running.end();
  });

  test(`${name}: a body that a parser consumed is named`, async () => {
    const [app, logged] = [express(), []];
    app.use(express.json());
    app.post("/hooks", webhook(options({ log: (_, detail) => logged.push(detail.reason) })), (_, response) => response.json({}));
    let told;
    app.use((error, _request, response, _next) => {
      told = error;
      response.status(500).end();
    });
    const running = await serving(createServer(app));
    await running.call(await signed("msg_1", "{}"));
    await running.call(await signed("msg_2", ""));
    await running.end();
    assert.equal(told.code, "already_parsed");
    assert.deepEqual(logged, ["already_parsed"]);
  });

  test(`${name}: raw bytes that a parser kept are taken`, async () => {
    for (const parser of [express.raw({ type: "*/*" }), express.json({ verify: (request, _, bytes) => { request.rawBody = bytes; } })]) {
      const app = express();
      app.use(parser);
      app.post("/hooks", webhook(options()), (request, response) => response.json(request.body));
      const running = await serving(createServer(app));
      const answer = await running.call(await signed("msg_1", '{ "a":1 }'));
      assert.deepEqual([answer.status, await answer.json()], [200, { a: 1 }]);
      await running.end();
    }
  });
}
