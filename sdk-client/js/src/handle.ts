/**
 * One request through the stages, whatever the framework: verify, claim, run, judge, answer.
 * Adapters bring raw bytes and take the answer; they know no rule of this.
 */
import type { Recorded, Store } from "./dedupe.js";
import { first, type Pairs } from "./headers.js";
import { type Provider, Refusal, Verifier, InvalidSetting } from "./signature.js";
import { Marks, toHeaders, type Track, type Verdict } from "./track.js";

const utf8 = new TextEncoder();

export interface Options {
  /** Whose signature is checked; also the preset for message id and event type. */
  provider: Provider;
  /** One, or several during a rotation. Falls back to `HOOKPLANE_SIGNATURE_SECRET`. */
  signatureSecret?: string | readonly string[];
  /** Own check instead of the provider's; throws or gives false to refuse. */
  signatureVerifier?: (body: Uint8Array, headers: Pairs) => boolean | Promise<boolean>;
  /** False: a refused request is logged and handled all the same, and never deduplicated. */
  rejectInvalidSignatures?: boolean;
  /** Seconds, either way; 300 when not given. */
  signatureTolerance?: number;
  /** A 2xx without a mark is a silent drop. */
  requireProcessingMark?: boolean;
  /** The parts of the work, so that a drop says which was skipped. */
  steps?: readonly string[];
  /** Where repeats are recognised; without one there is no deduplication. */
  store?: Store;
  /** The message's key; the provider's message id when not given. `undefined` skips. */
  idempotencyKey?: (request: { headers: Pairs; body: Uint8Array }) => string | undefined;
  /** Part of the key, so that handlers do not meet; the provider when not given. */
  endpointName?: string;
  /** Seconds that a done message is known; 86,400 when not given. */
  idempotencyTtl?: number;
  /** Milliseconds; renewed while the handler runs. 30,000 when not given. */
  leaseMs?: number;
  /** Past it a request is refused with 413; 1,048,576 when not given. */
  maxBodyBytes?: number;
  /** Milliseconds that the store may take; 1,000 when not given. */
  storeTimeoutMs?: number;
  /** Without the store: run the handler (`open`, the default) or refuse with 503 (`closed`). */
  onStoreError?: "open" | "closed";
  /** Where refusals and store errors are told; `console.warn` when not given. */
  log?: (message: string, detail: Record<string, unknown>) => void;
  /** Unix milliseconds. */
  now?: () => number;
}

/** What an adapter does with a body past its bound. */
export const TOO_LARGE: Answer = json(413, { error: "too large", code: "BODY_TOO_LARGE" });
/** Bytes of a body, when nothing else is said. */
export const MAX_BODY = 1024 * 1024;

/** An answer made here, instead of the handler's. */
export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyArray<readonly [string, string]>;
  readonly body: Uint8Array;
}

/** Whether the handler may run, and what has to follow. */
export type Admission =
  | { readonly answer: Answer }
  | { readonly work: Work };

/** A handler at work. */
export interface Work {
  readonly track: Track;
  readonly verified: boolean;
  /** Once it has answered: the headers to add. */
  finish(answered: Recorded): Promise<ReadonlyArray<readonly [string, string]>>;
  /** It threw. */
  crashed(): Promise<void>;
}

/** A message that this process works on. */
interface Held {
  stop(): void;
  complete(recorded: Recorded | undefined): Promise<unknown>;
  /** So many milliseconds more, for work that goes on. */
  keep(ms: number): Promise<unknown>;
  release(): Promise<unknown>;
}

/** Neither: nothing recognises repeats. */
type Claimed = { readonly answer?: Answer; readonly held?: Held };

const MAX_RECORDED = 64 * 1024;
/** A third of the lease apart: ten minutes with the usual lease. */
const MOST_RENEWALS = 60;

export class Gate {
  readonly #options: Options;
  readonly #verifier: Verifier | undefined;
  readonly #log: NonNullable<Options["log"]>;

  /** Throws an `InvalidSetting`, so that a wrong secret shows at the start. */
  constructor(options: Options) {
    this.#options = options;
    this.#log = options.log ?? ((message, detail) => console.warn(`hookplane: ${message}`, detail));
    if (options.signatureVerifier === undefined) {
      const secret = options.signatureSecret ?? environment("HOOKPLANE_SIGNATURE_SECRET");
      if (secret === undefined) {
        throw new InvalidSetting("secret_missing", "give `signatureSecret`, or a `signatureVerifier`");
      }
      this.#verifier = new Verifier(options.provider, secret, options.signatureTolerance);
    }
    // Declared names are checked now, not in the first request.
    new Marks(options.steps);
  }

  async admit(headers: Pairs, body: Uint8Array): Promise<Admission> {
    const verified = await this.#verified(headers, body);
    if (!verified && this.#options.rejectInvalidSignatures !== false) {
      return { answer: json(401, { error: "unauthorized", code: "SIGNATURE_INVALID" }) };
    }
    const claimed: Claimed = verified ? await this.#claim(headers, body) : {};
    if (claimed.answer !== undefined) {
      return { answer: claimed.answer };
    }
    const claim = claimed.held;
    const behindGateway = first(headers, "hookplane-event-id") !== undefined;
    const marks = new Marks(this.#options.steps);
    const release = async () => {
      claim?.stop();
      await claim?.release();
    };
    const finish = async (answered: Recorded) => {
      const verdict = marks.verdict(answered.status, this.#options.requireProcessingMark ?? false);
      claim?.stop();
      if (isDone(verdict)) {
        await claim?.complete(answered.body.length <= MAX_RECORDED ? answered : undefined);
      } else if (verdict?.deferral !== undefined) {
        await claim?.keep(verdict.deferral.deadline.getTime() - this.#now());
      } else {
        await claim?.release();
      }
      // Never shown to a provider.
      return behindGateway && verdict !== undefined ? toHeaders(verdict) : [];
    };
    return { work: { track: marks, verified, finish, crashed: release } };
  }

  async #verified(headers: Pairs, body: Uint8Array): Promise<boolean> {
    try {
      const own = this.#options.signatureVerifier;
      if (own !== undefined) {
        const believed = await own(body, headers);
        if (!believed) {
          this.#log("a request was refused", { reason: "verifier_refused" });
        }
        return believed;
      }
      await this.#verifier?.verify({ headers, body }, Math.floor(this.#now() / 1000));
      return true;
    } catch (error) {
      const [reason, detail] = error instanceof Refusal
        ? [error.reason, error.detail]
        : ["verifier_threw", String(error)];
      this.#log("a request was refused", { provider: this.#options.provider, reason, detail });
      return false;
    }
  }

  async #claim(headers: Pairs, body: Uint8Array): Promise<Claimed> {
    const { store, provider, leaseMs = 30_000, idempotencyTtl = 86_400 } = this.#options;
    const own = this.#options.idempotencyKey;
    const id = own === undefined ? messageId(provider, headers, body) : own({ headers, body });
    if (store === undefined || id === undefined) {
      return {};
    }
    const key = `${this.#options.endpointName ?? provider}/${id}`;
    const claim = await this.#ask("claim", () => store.claim(key, leaseMs, idempotencyTtl));
    if (claim === undefined) {
      return this.#options.onStoreError === "closed"
        ? { answer: json(503, { error: "try again", code: "STORE_UNREACHABLE" }, [["retry-after", "5"]]) }
        : {};
    }
    if (claim.state === "in_progress") {
      const seconds = String(Math.max(1, Math.ceil(claim.retryAfterMs / 1000)));
      return { answer: json(409, { error: "in progress", code: "IN_PROGRESS" }, [["retry-after", seconds]]) };
    }
    if (claim.state === "done") {
      return { answer: again(claim.recorded, headers) };
    }
    const { token } = claim;
    let renewals = 0;
    const renewal = setInterval(() => {
      renewals += 1;
      // A handler that hangs must not hold its message for ever.
      if (renewals >= MOST_RENEWALS) {
        clearInterval(renewal);
      }
      void this.#ask("renew", () => store.renew(token, leaseMs));
    }, leaseMs / 3);
    (renewal as { unref?: () => void }).unref?.();
    const held: Held = {
      stop: () => clearInterval(renewal),
      complete: (recorded) => this.#ask("complete", () => store.complete(token, recorded)),
      keep: (ms) => this.#ask("renew", () => store.renew(token, Math.max(ms, 1))),
      release: () => this.#ask("release", () => store.release(token)),
    };
    return { held };
  }

  /** Within the time that a store may take; `undefined` when it failed. */
  async #ask<T>(what: string, question: () => Promise<T>): Promise<T | undefined> {
    const most = this.#options.storeTimeoutMs ?? 1_000;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${most} ms`)), most);
    });
    try {
      return await Promise.race([question(), late]);
    } catch (error) {
      this.#log("the store of claims failed", { what, error: String(error) });
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  #now(): number {
    return this.#options.now?.() ?? Date.now();
  }
}

function isDone(verdict: Verdict | undefined): boolean {
  return verdict?.outcome === "completed" || verdict?.outcome === "ignored";
}

function again(recorded: Recorded | undefined, headers: Pairs): Answer {
  const kept = recorded ?? { status: 200, body: new Uint8Array() };
  const type: Array<[string, string]> = kept.contentType === undefined ? [] : [["content-type", kept.contentType]];
  const behindGateway = first(headers, "hookplane-event-id") !== undefined;
  const told: Array<[string, string]> = behindGateway
    ? [["hookplane-duplicate", "true"], ...toHeaders({ outcome: "completed", steps: [] })]
    : [];
  return { status: kept.status, headers: [...type, ...told], body: kept.body };
}

function json(status: number, value: unknown, more: Array<[string, string]> = []): Answer {
  const headers: Array<[string, string]> = [["content-type", "application/json"], ...more];
  return { status, headers, body: utf8.encode(JSON.stringify(value)) };
}

/** The provider's own id of the message. */
export function messageId(provider: Provider, headers: Pairs, body: Uint8Array): string | undefined {
  switch (provider) {
    case "github":
      return first(headers, "x-github-delivery");
    case "shopify":
      return first(headers, "x-shopify-webhook-id");
    case "stripe":
      return text(body, "id");
    case "slack":
      return text(body, "event_id");
    case "hookplane":
      // The event's: a retry has it again, what a person sends again has its own.
      return first(headers, "hookplane-event-id");
    default:
      return first(headers, "svix-id") ?? first(headers, "webhook-id");
  }
}

function text(body: Uint8Array, field: string): string | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    const found = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[field] : undefined;
    return typeof found === "string" && found !== "" ? found : undefined;
  } catch {
    return undefined;
  }
}

function environment(name: string): string | undefined {
  const value = typeof process === "undefined" ? undefined : process.env?.[name];
  return value === "" ? undefined : value;
}
