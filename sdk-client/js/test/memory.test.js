// The store of a single process stays within its bounds.
import assert from "node:assert/strict";
import { test } from "node:test";

import { MemoryStore } from "@hookplane/handler";

const done = (bytes) => ({ outcome: "completed", status: 200, body: new Uint8Array(bytes) });

async function work(store, key, bytes) {
  const { token } = await store.claim(key, 1000, 60);
  await store.complete(token, done(bytes));
}

test("what was done longest ago goes first, for entries and for bytes", async () => {
  const few = new MemoryStore({ entries: 3 });
  for (const key of ["a", "b", "c", "d"]) {
    await work(few, key, 10);
  }
  assert.equal((await few.claim("d", 1, 1)).state, "done");
  assert.equal((await few.claim("a", 1, 1)).state, "new");

  const small = new MemoryStore({ bytes: 10_000 });
  for (let at = 0; at < 100; at += 1) {
    await work(small, `key${at}`, 3_000);
    assert.ok(small.bytes <= 10_000, `it holds ${small.bytes} bytes`);
  }
  assert.equal((await small.claim("key99", 1, 1)).state, "done");
  assert.equal((await small.claim("key1", 1, 1)).state, "new");
});

test("an answer larger than the store is known without its body", async () => {
  const store = new MemoryStore({ bytes: 2_000 });
  await work(store, "a", 5_000);
  const { state, recorded } = await store.claim("a", 1, 1);
  assert.deepEqual([state, recorded.status, recorded.body], ["done", 200, undefined]);
});

test("full of work under way it says so, and leases that ended make room", async () => {
  let now = 0;
  const store = new MemoryStore({ entries: 2, now: () => now });
  await store.claim("a", 1000, 60);
  await store.claim("b", 2000, 60);
  await assert.rejects(store.claim("c", 1000, 60), /full/);
  now = 1000;
  assert.equal((await store.claim("c", 1000, 60)).state, "new");
  assert.equal((await store.claim("b", 1000, 60)).state, "in_progress");
});

test("who lost a claim changes nothing", async () => {
  let now = 0;
  const store = new MemoryStore({ now: () => now });
  const { token } = await store.claim("a", 10, 60);
  now = 10;
  const { token: second } = await store.claim("a", 10, 60);
  await store.complete(token, done(1));
  await store.release(token);
  assert.equal(await store.renew(token, 10), false);
  assert.equal(await store.renew(second, 10), true);
  assert.equal((await store.claim("a", 10, 60)).state, "in_progress");
});

test("a kept body does not keep the buffer that it was cut from", async () => {
  const store = new MemoryStore();
  const { token } = await store.claim("a", 10, 60);
  await store.complete(token, { ...done(0), body: new Uint8Array(1_000_000).subarray(0, 10) });
  const { recorded } = await store.claim("a", 10, 60);
  assert.equal(recorded.body.buffer.byteLength, 10);
});
