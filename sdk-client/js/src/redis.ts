/**
 * Claims in Redis (or Valkey), for all processes of a service.
 *
 * Owns the keys under its prefix and the scripts that change them; each change is one script over one key, so
 * that a cluster takes it too. Refuses to know clients: it is given a function that runs a script. Invariants:
 * a lease is the key's own expiry, by the clock of Redis; nobody changes a claim whose token is not his.
 */
import { random } from "./bytes.js";
import type { Claim, Recorded, Store } from "./dedupe.js";
import { InvalidSetting } from "./signature.js";

/** Runs a script with its keys and arguments, as `EVAL` does. */
export type Eval = (script: string, keys: string[], args: string[]) => Promise<unknown>;

// A value is `r` and a token while the work runs, `d` and the record once it is done.

/** Nothing when it is new, the record when it is done, else the milliseconds that the lease has left. */
const CLAIM = `local found = redis.call('GET', KEYS[1])
if not found then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ''
end
local kind = string.sub(found, 1, 1)
if kind == 'd' then return found end
if kind ~= 'r' then return redis.error_reply('ERR this key holds no claim') end
return redis.call('PTTL', KEYS[1])`;

const RENEW = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`;

/** Also when the lease has ended and nobody took the message: its work was done all the same. */
const COMPLETE = `local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1`;

const RELEASE = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`;

/** 16 random bytes in hex. */
const OWNER = 32;

export class RedisStore implements Store {
  readonly #run: Eval;
  readonly #prefix: string;

  /** `prefix` tells services apart that share one Redis. */
  constructor(run: Eval, { prefix = "hookplane:claims:" }: { prefix?: string } = {}) {
    if (typeof run !== "function") {
      throw new InvalidSetting("redis", "give a function that runs a script: (script, keys, args) => …");
    }
    this.#run = run;
    this.#prefix = prefix;
  }

  async claim(key: string, leaseMs: number, ttlS: number): Promise<Claim> {
    const owner = random(OWNER / 2);
    const found = await this.#run(CLAIM, [this.#prefix + key], [`r${owner}`, whole(leaseMs)]);
    if (found === "") {
      // All that the end of the claim needs, so that nothing is kept of it here.
      return { state: "new", token: `${owner}${whole(ttlS)}:${key}` };
    }
    if (typeof found === "string" && found.startsWith("d")) {
      return { state: "done", recorded: read(found.slice(1)) };
    }
    return { state: "in_progress", retryAfterMs: Math.max(1, Number(found)) };
  }

  async renew(token: string, leaseMs: number): Promise<boolean> {
    const { key, owner } = parts(token);
    return Number(await this.#run(RENEW, [this.#prefix + key], [owner, whole(leaseMs)])) === 1;
  }

  async complete(token: string, recorded: Recorded): Promise<void> {
    const { key, owner, ttl } = parts(token);
    await this.#run(COMPLETE, [this.#prefix + key], [owner, `d${written(recorded)}`, ttl]);
  }

  async release(token: string): Promise<void> {
    const { key, owner } = parts(token);
    await this.#run(RELEASE, [this.#prefix + key], [owner]);
  }
}

function parts(token: string): { key: string; owner: string; ttl: string } {
  const colon = token.indexOf(":");
  return { owner: `r${token.slice(0, OWNER)}`, ttl: token.slice(OWNER, colon), key: token.slice(colon + 1) };
}

/** Redis takes no fractions, and no time of nothing. */
function whole(time: number): string {
  return String(Math.max(1, Math.ceil(time)));
}

function written({ body, ...rest }: Recorded): string {
  return JSON.stringify({ ...rest, body: body && btoa(Array.from(body, (byte) => String.fromCharCode(byte)).join("")) });
}

function read(text: string): Recorded {
  const { body, ...rest } = JSON.parse(text) as Omit<Recorded, "body"> & { body?: string };
  return { ...rest, body: body === undefined ? undefined : Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0)) };
}
