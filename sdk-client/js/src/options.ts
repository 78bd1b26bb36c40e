/** What a wrap is told, checked once when the handler is wrapped. */
import type { Store } from "./dedupe.js";
import type { HeaderView } from "./headers.js";
import { InvalidSetting, known, type Provider, Verifier } from "./signature.js";
import { Marks } from "./track.js";

type Text = string | readonly string[];

export interface Options {
  /** Whose signature is checked; also the preset for message id and event type. Any name with a `signatureVerifier`. */
  provider: Provider | (string & {});
  /** One, or several during a rotation. Falls back to `HOOKPLANE_SIGNATURE_SECRET`. */
  signatureSecret?: Text;
  /**
   * The secret that the gateway signs deliveries with. A request with its signature is judged by it, others by
   * the provider's if that is given too. Falls back to `HOOKPLANE_GATEWAY_SECRET`.
   */
  gatewaySecret?: Text;
  /** Own check instead of the provider's; throws or gives false to refuse. */
  signatureVerifier?: (body: Uint8Array, headers: HeaderView) => boolean | Promise<boolean>;
  /** False: a refused request is logged and handled all the same, and never deduplicated. */
  rejectInvalidSignatures?: boolean;
  /** Seconds, either way; 300 when not given. */
  signatureTolerance?: number;
  /** Where the event's type stands, if not where the provider has it: a header, a field of the body (`data.kind`). */
  eventTypeHeader?: string;
  eventTypeField?: string;
  /** Reports show the headers, or the JSON of the body, redacted; both are off when not given. */
  captureHeaders?: boolean;
  captureBody?: boolean;
  /** Stands in every report; 4 KiB of JSON at most. */
  metadata?: Readonly<Record<string, unknown>>;
  /** A 2xx without a mark is a silent drop. */
  requireProcessingMark?: boolean;
  /** The parts of the work, so that a drop says which was skipped. */
  steps?: readonly string[];
  /** Where repeats are recognised; without one there is no deduplication. */
  store?: Store;
  /** The message's key; the provider's message id when not given. Nothing: this one is not deduplicated. */
  idempotencyKey?: (request: unknown, body: unknown, headers: HeaderView) => string | null | undefined;
  /** Part of the key beside `endpointName`; `HOOKPLANE_SOURCE`, or the provider, when not given. */
  source?: string;
  /** Part of the key, so that handlers do not meet; the request's path when not given. */
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

/** Options with what was left out. */
export interface Settled {
  readonly given: Options;
  /** Of the provider; `undefined` with an own check, or behind the gateway only. */
  readonly verifier: Verifier | undefined;
  readonly gateway: Verifier | undefined;
  readonly source: string;
  readonly ttlS: number;
  readonly leaseMs: number;
  readonly most: number;
  readonly storeMs: number;
  log(message: string, detail: Record<string, unknown>): void;
  now(): number;
}

/** Throws an `InvalidSetting`, so that what can never work shows at the start. */
export function settle(given: Options): Settled {
  const tolerance = number("signatureTolerance", given.signatureTolerance, 300, 0, 86_400);
  const own = given.signatureVerifier !== undefined;
  const trusted = given.gatewaySecret ?? environment("HOOKPLANE_GATEWAY_SECRET");
  const secret = given.signatureSecret ?? environment("HOOKPLANE_SIGNATURE_SECRET");
  if (!own) {
    known(given.provider);
  }
  if (!own && secret === undefined && trusted === undefined) {
    throw new InvalidSetting("secret_missing", "give a `signatureSecret`, a `gatewaySecret` or a `signatureVerifier`");
  }
  // Declared names are checked now, not in the first request.
  new Marks(given.steps);
  const verifier = own || secret === undefined ? undefined : new Verifier(given.provider as Provider, secret, tolerance);
  return {
    given,
    verifier,
    gateway: trusted !== undefined
      ? new Verifier("hookplane", trusted, tolerance)
      : given.provider === "hookplane" ? verifier : undefined,
    source: given.source ?? environment("HOOKPLANE_SOURCE") ?? given.provider,
    ttlS: number("idempotencyTtl", given.idempotencyTtl, 86_400, 1, 31_536_000),
    leaseMs: number("leaseMs", given.leaseMs, 30_000, 10, 3_600_000),
    most: number("maxBodyBytes", given.maxBodyBytes, 1024 * 1024, 0, 2 ** 30),
    storeMs: number("storeTimeoutMs", given.storeTimeoutMs, 1_000, 1, 60_000),
    log: given.log ?? ((message, detail) => console.warn(`hookplane: ${message}`, detail)),
    now: given.now ?? Date.now,
  };
}

/** Within its bounds; `NaN` is in none. */
export function number(name: string, value: number | undefined, usual: number, least: number, most: number): number {
  const chosen = value ?? usual;
  if (!(chosen >= least && chosen <= most)) {
    throw new InvalidSetting("number", `\`${name}\` is a number from ${least} to ${most}`);
  }
  return chosen;
}

export function environment(name: string): string | undefined {
  const value = typeof process === "undefined" ? undefined : process.env?.[name];
  return value === "" ? undefined : value;
}
