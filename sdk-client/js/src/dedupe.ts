/** Each message once: who has the work, and what came of it. */

export interface Recorded {
  readonly status: number;
  readonly contentType?: string;
  readonly body: Uint8Array;
}

export type Claim =
  | { readonly state: "new"; readonly token: string }
  | { readonly state: "in_progress"; readonly retryAfterMs: number }
  | { readonly state: "done"; readonly recorded: Recorded | undefined };

/**
 * Where claims are kept. `recorded` is `undefined` for an answer that was too large to keep.
 * A store for several processes has to make `claim` one atomic step.
 */
export interface Store {
  claim(key: string, leaseMs: number, ttlS: number): Promise<Claim>;
  /** False when the claim was lost. */
  renew(token: string, leaseMs: number): Promise<boolean>;
  complete(token: string, recorded: Recorded | undefined): Promise<void>;
  /** The work was not done: the next arrival may do it. */
  release(token: string): Promise<void>;
}

type Entry = { token: string; until: number; ttlS: number; done?: { recorded: Recorded | undefined } };

/** For development and for a single process: what it knows ends with the process. */
export class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new Map<string, string>();

  constructor(
    private readonly most = 10_000,
    private readonly now: () => number = Date.now,
  ) {}

  async claim(key: string, leaseMs: number, ttlS: number): Promise<Claim> {
    const now = this.now();
    const known = this.#entries.get(key);
    if (known !== undefined && known.until > now) {
      return known.done === undefined
        ? { state: "in_progress", retryAfterMs: known.until - now }
        : { state: "done", recorded: known.done.recorded };
    }
    this.#drop(key);
    this.#makeRoom(now);
    const token = crypto.randomUUID();
    this.#entries.set(key, { token, until: now + leaseMs, ttlS });
    this.#keys.set(token, key);
    return { state: "new", token };
  }

  async renew(token: string, leaseMs: number): Promise<boolean> {
    const entry = this.#of(token);
    if (entry === undefined) {
      return false;
    }
    entry.until = this.now() + leaseMs;
    return true;
  }

  async complete(token: string, recorded: Recorded | undefined): Promise<void> {
    const entry = this.#of(token);
    if (entry !== undefined) {
      entry.done = { recorded };
      entry.until = this.now() + entry.ttlS * 1000;
    }
  }

  async release(token: string): Promise<void> {
    const key = this.#keys.get(token);
    if (key !== undefined && this.#of(token) !== undefined) {
      this.#drop(key);
    }
  }

  /** Under this token, if another has not taken it over and it has not ended. */
  #of(token: string): Entry | undefined {
    const entry = this.#entries.get(this.#keys.get(token) ?? "");
    return entry?.token === token && entry.done === undefined ? entry : undefined;
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      this.#entries.delete(key);
      this.#keys.delete(entry.token);
    }
  }

  /** What has ended goes first, then what was done longest ago; work under way stays. */
  #makeRoom(now: number): void {
    if (this.#entries.size < this.most) {
      return;
    }
    for (const [key, entry] of this.#entries) {
      if (entry.until <= now) {
        this.#drop(key);
      }
    }
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size < this.most) {
        return;
      }
      if (entry.done !== undefined) {
        this.#drop(key);
      }
    }
  }
}
