// Claims in a real Redis, through the clients that people use. REDIS_SERVER names the binary, else the PATH has it.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Redis } from "ioredis";
import { createClient } from "redis";
import { RedisStore } from "@hookplane/handler/redis";
import { withWebhook } from "@hookplane/handler/web";

import { options, signed } from "./support/signed.js";

const binary = process.env.REDIS_SERVER ?? ["redis-server", "valkey-server"].find((name) => !spawnSync(name, ["--version"]).error);
const skip = binary ? false : "there is no redis-server; REDIS_SERVER names none";

const folder = mkdtempSync(join(tmpdir(), "redis-"));
const path = join(folder, "redis.sock");
let server;
const clients = {};
const ends = [];

before(async () => {
  if (skip) {
    return;
  }
  server = spawn(binary, ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", ""], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of server.stdout) {
    if (/ready to accept/i.test(String(line))) {
      break;
    }
  }
  server.stdout.resume();
  const one = new Redis({ path, lazyConnect: true });
  await one.connect();
  const two = createClient({ socket: { path } });
  await two.connect();
  ends.push(() => one.quit(), () => two.close());
  clients.ioredis = (script, keys, args) => one.eval(script, keys.length, ...keys, ...args);
  clients["node-redis"] = (script, keys, args) => two.eval(script, { keys, arguments: args });
});

after(async () => {
  await Promise.all(ends.map((end) => end()));
  server?.kill();
  if (server) {
    await once(server, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
});

/** A store of its own for each test. */
const store = (client) => new RedisStore(clients[client], { prefix: `${crypto.randomUUID()}:` });
const record = (more = {}) => ({ outcome: "completed", status: 201, body: new Uint8Array([0, 255, 10]), ...more });

async function until(what, holds) {
  for (const end = Date.now() + 10_000; Date.now() < end;) {
    const found = await holds();
    if (found) {
      return found;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}

for (const client of ["ioredis", "node-redis"]) {
  test(`${client}: of many who claim at once one has it, and the others learn for how long`, { skip }, async () => {
    const claims = store(client);
    const all = await Promise.all(Array.from({ length: 20 }, () => claims.claim("a/b:c", 30_000, 60)));
    assert.equal(all.filter(({ state }) => state === "new").length, 1);
    for (const { retryAfterMs } of all.filter(({ state }) => state === "in_progress")) {
      assert.ok(retryAfterMs > 0 && retryAfterMs <= 30_000, String(retryAfterMs));
    }
  });

  test(`${client}: what is done comes back as it was recorded, byte for byte`, { skip }, async () => {
    const claims = store(client);
    const every = Uint8Array.from({ length: 65_536 }, (_, at) => at % 256);
    for (const recorded of [
      record({ contentType: "text/plain", reason: undefined }),
      record({ outcome: "ignored", reason: "nobody é", status: 204, body: undefined }),
      record({ body: every }),
      record({ body: new Uint8Array() }),
    ]) {
      const key = crypto.randomUUID();
      await claims.complete((await claims.claim(key, 30_000, 60)).token, recorded);
      const { state, recorded: again } = await claims.claim(key, 30_000, 60);
      assert.equal(state, "done");
      for (const name of ["outcome", "reason", "status", "contentType", "body"]) {
        assert.deepEqual(again[name], recorded[name], name);
      }
    }
  });

  test(`${client}: work that is given back, or whose lease has ended, may be done again`, { skip }, async () => {
    const claims = store(client);
    const first = await claims.claim("key", 30_000, 60);
    await claims.release(first.token);
    const second = await claims.claim("key", 1, 60);
    assert.equal(second.state, "new");
    await until("the lease has ended", async () => (await claims.claim("key", 30_000, 60)).state === "new");
    assert.equal(await claims.renew(second.token, 30_000), false);
    await claims.release(second.token);
    await claims.complete(second.token, record());
    assert.equal((await claims.claim("key", 30_000, 60)).state, "in_progress");
  });

  test(`${client}: a renewed lease goes on, and a record ends with its time`, { skip }, async () => {
    const claims = store(client);
    const { token } = await claims.claim("key", 20_000, 1);
    assert.equal(await claims.renew(token, 3_000_000), true);
    assert.ok((await claims.claim("key", 20_000, 1)).retryAfterMs > 20_000);
    await claims.complete(token, record());
    await until("the record has ended", async () => (await claims.claim("key", 20_000, 1)).state === "new");
  });

  test(`${client}: work that outlived its lease is done when nobody else took it`, { skip }, async () => {
    const claims = store(client);
    const { token } = await claims.claim("key", 1, 60);
    await until("the lease has ended", async () => await claims.renew(token, 1) === false);
    await claims.complete(token, record());
    assert.equal((await claims.claim("key", 30_000, 60)).state, "done");
  });
}

test("two processes of a service do the work of one message once", { skip }, async () => {
  const prefix = `${crypto.randomUUID()}:`;
  let runs = 0;
  let go = () => {};
  const held = new Promise((resolve) => { go = resolve; });
  const handlers = Object.values(clients).map((run) => withWebhook(options({ store: new RedisStore(run, { prefix }) }), async () => {
    runs += 1;
    await held;
    return new Response("done", { status: 202 });
  }));
  const request = await signed("msg_1", "{}");
  const call = (handler) => handler(new Request("http://localhost/hooks", request));
  const first = call(handlers[0]);
  await until("it runs", () => runs === 1);
  const meanwhile = await call(handlers[1]);
  assert.equal(meanwhile.status, 409);
  assert.ok(Number(meanwhile.headers.get("retry-after")) >= 1);
  go();
  assert.equal((await first).status, 202);
  const repeated = await call(handlers[1]);
  assert.deepEqual([repeated.status, await repeated.text(), runs], [202, "done", 1]);
});

test("the start with Redis in the README", { skip }, async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const block = [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((found) => found[1]).find((one) => one.includes("@hookplane/handler/redis"));
  const file = new URL("./.readme-redis.mjs", import.meta.url);
  process.env.REDIS_URL = path;
  writeFileSync(file, `${block}\nexport { redis, store };\n`);
  try {
    const { redis, store } = await import(file);
    assert.equal((await store.claim("key of the README", 30_000, 60)).state, "new");
    await redis.quit();
  } finally {
    rmSync(file);
  }
});

test("a key that holds something else is a store that failed, and no done work", { skip }, async () => {
  const prefix = `${crypto.randomUUID()}:`;
  await clients.ioredis("return redis.call('SET', KEYS[1], 'other')", [`${prefix}key`], []);
  await assert.rejects(new RedisStore(clients.ioredis, { prefix }).claim("key", 1_000, 60), /holds no claim/);
});

test("what runs no script is refused at the start", () => {
  assert.throws(() => new RedisStore({ eval() {} }), { code: "redis" });
});
