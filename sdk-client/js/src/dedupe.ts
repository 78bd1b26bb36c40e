/** Each message once: who has the work, and what came of it. */

/** What a repeat is answered with. */
export interface Recorded {
  readonly outcome: "completed" | "ignored";
  readonly reason?: string | undefined;
  readonly status: number;
  readonly contentType?: string | undefined;
  /** `undefined` for a body that was too large to keep. */
  readonly body: Uint8Array | undefined;
}

export type Claim =
  | { readonly state: "new"; readonly token: string }
  | { readonly state: "in_progress"; readonly retryAfterMs: number }
  | { readonly state: "done"; readonly recorded: Recorded };

/** Where claims are kept. A store for several processes has to make `claim` one atomic step. */
export interface Store {
  claim(key: string, leaseMs: number, ttlS: number): Promise<Claim>;
  /** False when the claim was lost. */
  renew(token: string, leaseMs: number): Promise<boolean>;
  complete(token: string, recorded: Recorded): Promise<void>;
  /** The work was not done: the next arrival may do it. */
  release(token: string): Promise<void>;
}

type Entry = { readonly key: string; readonly token: string; readonly ttlS: number; until: number; recorded?: Recorded };

/** What an entry costs beside its key and its body. */
const ENTRY = 256;

/** For development and for a single process: what it knows ends with the process. */
export class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>();
  readonly #running = new Map<string, Entry>();
  /** Those that are done, longest ago first. */
  readonly #done = new Set<Entry>();
  readonly #most: number;
  readonly #mostBytes: number;
  readonly #now: () => number;
  #bytes = 0;

  /** At most so many messages and bytes: what was done longest ago is forgotten first. */
  constructor(bounds: { entries?: number; bytes?: number; now?: () => number } = {}) {
    this.#most = bounds.entries ?? 10_000;
    this.#mostBytes = bounds.bytes ?? 16 * 1024 * 1024;
    this.#now = bounds.now ?? Date.now;
  }

  /** Held now, as far as it is counted. */
  get bytes(): number {
    return this.#bytes;
  }

  async claim(key: string, leaseMs: number, ttlS: number): Promise<Claim> {
    const now = this.#now();
    const known = this.#entries.get(key);
    if (known !== undefined && known.until > now) {
      return known.recorded === undefined
        ? { state: "in_progress", retryAfterMs: known.until - now }
        : { state: "done", recorded: known.recorded };
    }
    if (known !== undefined) {
      this.#drop(known);
    }
    const entry = { key, token: crypto.randomUUID(), ttlS, until: now + leaseMs };
    if (!this.#room(1, size(entry))) {
      throw new Error("the memory store is full of work under way");
    }
    this.#bytes += size(entry);
    this.#entries.set(key, entry);
    this.#running.set(entry.token, entry);
    return { state: "new", token: entry.token };
  }

  async renew(token: string, leaseMs: number): Promise<boolean> {
    const entry = this.#running.get(token);
    if (entry !== undefined) {
      entry.until = this.#now() + leaseMs;
    }
    return entry !== undefined;
  }

  async complete(token: string, recorded: Recorded): Promise<void> {
    const entry = this.#running.get(token);
    if (entry === undefined) {
      return;
    }
    const more = recorded.body?.length ?? 0;
    const kept = this.#room(0, more);
    // A view of a larger buffer would keep that alive.
    entry.recorded = { ...recorded, body: kept ? recorded.body?.slice() : undefined };
    entry.until = this.#now() + entry.ttlS * 1000;
    this.#bytes += kept ? more : 0;
    this.#running.delete(token);
    this.#done.add(entry);
  }

  async release(token: string): Promise<void> {
    const entry = this.#running.get(token);
    if (entry !== undefined) {
      this.#drop(entry);
    }
  }

  #drop(entry: Entry): void {
    this.#bytes -= size(entry);
    this.#entries.delete(entry.key);
    this.#running.delete(entry.token);
    this.#done.delete(entry);
  }

  /** Work under way stays; leases that have ended go last. */
  #room(entries: number, bytes: number): boolean {
    const fits = () => this.#entries.size + entries <= this.#most && this.#bytes + bytes <= this.#mostBytes;
    for (const entry of this.#done) {
      if (fits()) {
        return true;
      }
      this.#drop(entry);
    }
    for (const entry of fits() ? [] : [...this.#running.values()]) {
      if (entry.until <= this.#now()) {
        this.#drop(entry);
      }
    }
    return fits();
  }
}

function size({ key, recorded }: Entry): number {
  return ENTRY + 2 * key.length + (recorded?.body?.length ?? 0);
}
