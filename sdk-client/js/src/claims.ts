/** How one wrap uses its store: within bounds of time, and so that no claim is left behind. */
import { toHex } from "./bytes.js";
import type { Claim, Recorded, Store } from "./dedupe.js";
import type { Settled } from "./options.js";

/** A message that this process works on. */
export interface Held {
  complete(recorded: Recorded): Promise<unknown>;
  /** So many milliseconds more, for work that goes on. */
  keep(ms: number): Promise<unknown>;
  release(): Promise<unknown>;
}

export type Claimed =
  | { readonly state: "held"; readonly held: Held }
  | Exclude<Claim, { state: "new" }>
  /** The store failed. */
  | { readonly state: "unknown" };

/** A third of the lease apart: ten minutes with the usual lease, and a handler that hangs holds no message for ever. */
const MOST_RENEWALS = 60;
const LONGEST_KEY = 512;

/** Parts of a key cannot run into each other. */
export async function keyOf(...parts: string[]): Promise<string> {
  const key = parts.map((part) => part.replace(/[%/]/g, encodeURIComponent)).join("/");
  if (key.length <= LONGEST_KEY) {
    return key;
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return "sha256/" + toHex(new Uint8Array(digest));
}

export async function claim(settled: Settled, store: Store, key: string): Promise<Claimed> {
  const { leaseMs, ttlS } = settled;
  // Granted when nobody waits any more: given back, or the message would be locked until the lease ends.
  const late = (claim: Claim) => claim.state === "new" ? store.release(claim.token) : undefined;
  const answer = await ask(settled, "claim", () => store.claim(key, leaseMs, ttlS), late);
  if (answer?.state !== "new") {
    return answer ?? { state: "unknown" };
  }
  const { token } = answer;
  let renewals = 0;
  const renewal = setInterval(() => {
    renewals += 1;
    if (renewals >= MOST_RENEWALS) {
      clearInterval(renewal);
    }
    void ask(settled, "renew", () => store.renew(token, leaseMs)).then((kept) => {
      if (kept === false) {
        clearInterval(renewal);
        settled.log("a claim was lost", { key });
      }
    });
  }, leaseMs / 3);
  (renewal as { unref?: () => void }).unref?.();
  const last = (what: string, question: () => Promise<unknown>) => {
    clearInterval(renewal);
    return ask(settled, what, question);
  };
  const held: Held = {
    complete: (recorded) => last("complete", () => store.complete(token, recorded)),
    keep: (ms) => last("keep", () => store.renew(token, Math.max(ms, 1))),
    release: () => last("release", () => store.release(token)),
  };
  return { state: "held", held };
}

/** Within the time that a store may take; `undefined` when it failed. */
async function ask<T>(
  { storeMs, log }: Settled,
  what: string,
  question: () => Promise<T>,
  late?: (answer: T) => unknown,
): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${storeMs} ms`)), storeMs);
  });
  try {
    const answer = (async () => question())();
    answer.then((value) => over ? late?.(value) : undefined).catch(() => {});
    return await Promise.race([answer, end]);
  } catch (error) {
    over = true;
    log("the store of claims failed", { what, error: String(error) });
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
