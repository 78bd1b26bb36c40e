// In a real Next.js, built and started: App Router, its edge runtime, and Pages Router, with the package as packed.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { createServer as createListener } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gzipSync } from "node:zlib";

import { BEHIND, SECRET, signed } from "./support/signed.js";

const here = new URL("..", import.meta.url).pathname;
const next = createRequire(import.meta.url).resolve("next/dist/bin/next");
/** Below the package, so that Next.js and React are found above it. */
const folder = mkdtempSync(join(here, ".next-"));
const env = { ...process.env, CLERK_WEBHOOK_SECRET: SECRET, NEXT_TELEMETRY_DISABLED: "1" };
/** Of handlers to the agent. */
const reports = [];
/** How handlers that are held go on, by the path at which they wait. */
const waiting = new Map();
let base;
let server;
let agent;
let log = "";

async function freePort() {
  const listener = createListener().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

async function until(what, ask) {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const found = await Promise.resolve().then(ask).catch(() => false);
    if (found) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}\n${log}`);
}

/** The quick starts of the README as they stand, and the services that they call. */
function quickStarts() {
  const readme = readFileSync(join(here, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((found) => found[1]);
  const services = "const createProfile = async (data) => console.log(`made ${data.id}`);\n";
  for (const [place, sign] of [["app/quick/route.js", "export const POST"], ["pages/api/quick.js", "withPagesWebhook"]]) {
    mkdirSync(join(folder, place, ".."), { recursive: true });
    writeFileSync(join(folder, place), services + blocks.find((one) => one.includes(sign)));
  }
}

before(async () => {
  cpSync(join(here, "apps/next"), folder, { recursive: true });
  quickStarts();
  const [{ filename }] = JSON.parse(execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: here }));
  const installed = join(folder, "node_modules/@hookplane/handler");
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, filename), "--strip-components=1", "-C", installed]);
  writeFileSync(join(folder, "package.json"), '{"private":true,"type":"module"}');

  agent = createServer(async (request, response) => {
    if (request.method === "GET") {
      waiting.set(request.url, () => response.end());
      return;
    }
    const parts = [];
    for await (const part of request) {
      parts.push(part);
    }
    reports.push(...JSON.parse(Buffer.concat(parts).toString()).reports);
    response.writeHead(202, { "content-type": "application/json" });
    response.end('{"accepted":1,"refused":[]}');
  }).listen(0, "127.0.0.1");
  await once(agent, "listening");
  Object.assign(env, { HOOKPLANE_API_KEY: "hph_test", HOOKPLANE_ENDPOINT: `http://127.0.0.1:${agent.address().port}` });

  execFileSync(process.execPath, [next, "build"], { cwd: folder, env, stdio: "pipe" });
  const port = await freePort();
  server = spawn(process.execPath, [next, "start", "-H", "127.0.0.1", "-p", String(port)], { cwd: folder, env });
  for (const stream of [server.stdout, server.stderr]) {
    stream.on("data", (text) => { log += text; });
  }
  base = `http://127.0.0.1:${port}`;
  await until("it serves", async () => (await fetch(`${base}/health`)).ok);
});

after(async () => {
  if (server) {
    server.kill();
    await once(server, "exit");
  }
  agent?.closeAllConnections();
  agent?.close();
  rmSync(folder, { recursive: true, force: true });
});

let messages = 0;
const fresh = () => `msg_${messages += 1}`;
const json = (type, more = {}) => JSON.stringify({ type, ...more });

for (const [name, path, seesCrashes] of [["app", "/hooks", false], ["edge", "/edge", false], ["page", "/api/hooks", true]]) {
  const call = async (id, body, more) => fetch(base + path, { ...await signed(id, body, more), redirect: "manual" });

  test(`${name}: the verdict of its handler is in the answer behind the gateway, and nowhere else`, async () => {
    const answer = await call(fresh(), json("completed"), BEHIND);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.get("hookplane-outcome"), "completed");
    assert.equal(answer.headers.get("hookplane-outcome-steps"), "profile=done");
    const failed = await call(fresh(), json("failed"), BEHIND);
    assert.equal(failed.headers.get("hookplane-outcome"), "failed");
    assert.equal(failed.headers.get("hookplane-outcome-reason"), encodeURIComponent("no plan: é"));
    assert.equal(failed.headers.get("hookplane-outcome-retry"), "true");
    const dropped = await call(fresh(), json("something else"), BEHIND);
    assert.equal(dropped.headers.get("hookplane-outcome"), "silent_drop");
    assert.equal(dropped.headers.get("hookplane-outcome-reason"), encodeURIComponent("steps not done: profile"));
    const direct = await call(fresh(), json("completed"));
    assert.equal(direct.headers.get("hookplane-outcome"), null);
  });

  test(`${name}: bytes are verified as they came`, async () => {
    for (const body of [
      '{"n": 12345678901234567890,\r\n "10":1.0, "é":"\\u00e9\\/\\u003c"}\n',
      "\uFEFF{}",
      Buffer.from([0xff, 0x00, 0xfe, 0x0a]),
      "",
      "x".repeat(200_000),
    ]) {
      const answer = await call(fresh(), body);
      assert.equal(answer.status, 201);
      assert.equal((await answer.json()).size, Buffer.byteLength(body));
    }
    const packed = gzipSync(json("completed"));
    assert.equal((await (await call(fresh(), packed, { "content-encoding": "gzip" })).json()).size, packed.length);
    const { body, ...rest } = await signed(fresh(), json("completed"));
    const parts = [body.subarray(0, 5), body.subarray(5)];
    const chunked = new ReadableStream({
      pull(controller) {
        const part = parts.shift();
        part === undefined ? controller.close() : controller.enqueue(part);
      },
    });
    assert.equal((await fetch(base + path, { ...rest, body: chunked, duplex: "half" })).status, 201);
  });

  test(`${name}: what is not believed or too large does not reach its handler`, async () => {
    const request = await signed(fresh(), json("completed"), BEHIND);
    const forged = await fetch(base + path, { ...request, body: json("completed", { more: 1 }) });
    assert.equal(forged.status, 401);
    assert.deepEqual(await forged.json(), { error: "unauthorized", code: "SIGNATURE_INVALID" });
    assert.equal(forged.headers.get("hookplane-outcome"), null);
    assert.equal((await call(fresh(), "x".repeat(1024 * 1024 + 1))).status, 413);
  });

  test(`${name}: work is done once, and a repeat under way is told to come again`, async () => {
    const id = fresh();
    const [first, second] = [await call(id, json("completed")), await call(id, json("completed"))];
    assert.deepEqual([first.status, second.status], [201, 201]);
    assert.deepEqual(await first.json(), await second.json());
    const other = fresh();
    const held = json("held", { until: `${env.HOOKPLANE_ENDPOINT}/held/${other}` });
    const running = call(other, held);
    const go = await until("its handler runs", () => waiting.get(`/held/${other}`));
    const meanwhile = await call(other, held);
    assert.equal(meanwhile.status, 409);
    assert.ok(Number(meanwhile.headers.get("retry-after")) >= 1);
    go();
    assert.equal((await running).status, 201);
  });

  test(`${name}: a handler that throws is 500 and may be called again`, async () => {
    const id = fresh();
    const answer = await call(id, json("thrown"), BEHIND);
    assert.equal(answer.status, 500);
    assert.equal(answer.headers.get("hookplane-outcome"), seesCrashes ? "crashed" : null);
    assert.equal((await call(id, json("thrown"), BEHIND)).status, 500);
  });

  // The edge runtime has none of its own.
  name !== "edge" && test(`${name}: its quick start`, async () => {
    const quick = path.replace("hooks", "quick");
    const id = fresh();
    const body = JSON.stringify({ type: "user.created", data: { id } });
    const answer = await fetch(base + quick, await signed(id, body, BEHIND));
    assert.deepEqual(await answer.json(), { ok: true });
    assert.equal(answer.headers.get("hookplane-outcome"), "completed");
    await until("the profile is made", () => log.includes(`made ${id}`));
  });
}

test("a page that leaves the parser on says so, and believes nothing", async () => {
  const answer = await fetch(`${base}/api/parsed`, await signed(fresh(), json("completed")));
  assert.equal(answer.status, 500);
  await until("the log names it", () => /already_parsed[\s\S]*bodyParser: false/.test(log));
});

test("routes without the wrap are left alone", async () => {
  assert.deepEqual(await (await fetch(`${base}/health`)).json(), { ok: true });
});

test("what instrumentation.js began hears of both routers, and of the edge runtime", async () => {
  for (const path of ["/hooks", "/edge", "/api/hooks"]) {
    const id = fresh();
    await fetch(base + path, await signed(id, json("failed"), BEHIND));
    const report = await until(`${path} reports`, () => reports.find(({ message_id: found }) => found === id));
    assert.deepEqual([report.outcome, report.endpoint, report.status], ["failed", path, 201]);
  }
});
