/**
 * Reports of what came of deliveries, to an agent: beside the answer, which says it first.
 *
 * Owns the queue and its sending. Knows nothing of frameworks. Invariants: a handler never waits for it and
 * never sees it fail; the queue has a bound, and what was dropped is counted; failures are never sampled
 * away and are the last to be dropped; bodies and headers only where a wrap asks, redacted.
 */
import { random } from "./bytes.js";
import { first } from "./headers.js";
import type { Message } from "./identify.js";
import { listen, type Observer } from "./observe.js";
import { environment, number, type Options } from "./options.js";
import { type Redactions, Redactor } from "./redact.js";
import { InvalidSetting, type Provider } from "./signature.js";

export interface TelemetryOptions {
  /** A handler key, `hph_…`. Falls back to `HOOKPLANE_API_KEY`. */
  apiKey?: string;
  /** The agent's ingest address, `http://agent:8088`. Falls back to `HOOKPLANE_ENDPOINT`. */
  endpoint?: string;
  /** Falls back to `HOOKPLANE_RELEASE` and `HOOKPLANE_ENVIRONMENT`. */
  release?: string;
  environment?: string;
  /** Of what was completed or ignored, 0 to 1; 1 when not given. All else is always sent. */
  sampleRate?: number;
  /** The last word on a report: changes it, or gives nothing to leave it out. One that throws leaves it out. */
  beforeSend?: (report: Report) => Report | null | undefined;
  /** What is hidden in captured headers and bodies, beside what has the name of a secret. */
  redact?: Redactions;
  /** Reports that wait at most; 1,000 when not given. */
  maxQueue?: number;
  /** Milliseconds that reports may wait for others; 1,000 when not given. */
  flushIntervalMs?: number;
  /** Milliseconds after which a report is given up; 60,000 when not given. */
  giveUpAfterMs?: number;
  /** Keeps a serverless function alive until what it is given has ended. Found by itself on Next.js and Vercel. */
  waitUntil?: (sending: Promise<unknown>) => void;
  fetch?: typeof fetch;
  now?: () => number;
  random?: () => number;
}

/** As it is sent. */
export interface Report {
  id: string;
  source: string;
  event_id: string;
  attempt?: number;
  outcome: string;
  reason?: string;
  retry?: boolean;
  steps?: Record<string, string>;
  endpoint: string;
  message_id?: string;
  event_type?: string;
  traceparent?: string;
  status: number;
  size: number;
  at: string;
  latency_ms: number;
  sample_rate: number;
  sdk: string;
  release?: string;
  environment?: string;
  /** With `captureHeaders` and `captureBody`; the body is text, cut at 8,192 characters. */
  headers?: Record<string, string>;
  body?: string;
  metadata?: Readonly<Record<string, unknown>>;
}

/** Since the start, but for `waiting`. */
export interface Counts {
  /** That an agent has. */
  readonly sent: number;
  /** That the agent does not take, each by its own fault. */
  readonly refused: number;
  /** Without room, or past their time. */
  readonly dropped: number;
  /** Left out by `sampleRate` or `beforeSend`. */
  readonly left: number;
  /** Of calls that no gateway delivered: agents know reports of their own deliveries only. */
  readonly direct: number;
  readonly waiting: number;
}

export interface Telemetry {
  readonly counts: Counts;
  /** Sends what waits; ends when it is sent or after so many milliseconds. Never throws. */
  flush(withinMs?: number): Promise<void>;
  /** The same, and listens no more. */
  close(withinMs?: number): Promise<void>;
}

/** What came of one delivery. */
interface Ended {
  readonly settled: Parameters<Observer>[0];
  readonly path: string;
  readonly message: Parameters<Observer>[2];
  readonly verdict: Parameters<Observer>[3];
  readonly answered: Parameters<Observer>[4];
  readonly at: number;
}

interface Waiting {
  readonly id: string;
  /** The report as it is sent. */
  readonly text: string;
  readonly since: number;
  readonly failure: boolean;
}

const SDK = "hookplane-js/0.1.0";
/** Reports of one call. */
const MOST_AT_ONCE = 100;
/** Characters of one call, 3 bytes each at most: an agent takes 1 MiB. */
const MOST_OF_A_CALL = 300_000;
/** Characters of one report, whatever `beforeSend` made of it; bytes of a body that is looked at for one. */
const MOST_OF_A_REPORT = 64 * 1024;
const MOST_OF_METADATA = 4_096;
const CALL_MS = 5_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** Not yet, says the agent: another time it may. */
const LATER = "EVENT_UNDER_WAY";

/** Begins to report. Throws an `InvalidSetting` for what can never work; after that nothing of it throws. */
export function init(options: TelemetryOptions = {}): Telemetry {
  const queue = new Queue(options);
  listen((settled, path, message, verdict, answered, at) => queue.hear({ settled, path, message, verdict, answered, at }));
  // A process that ends by itself says what it has to say first.
  const last = () => void queue.flush();
  atEnd("on", last);
  return {
    get counts() {
      return queue.counts;
    },
    flush: (withinMs = 2_000) => queue.flush(withinMs),
    close: async (withinMs = 2_000) => {
      listen(undefined);
      atEnd("off", last);
      await queue.flush(withinMs);
      queue.end();
    },
  };
}

/** Edge runtimes have no end to hear of, and some throw when they are asked for one. */
function atEnd(what: "on" | "off", last: () => void): void {
  try {
    process[what]("beforeExit", last);
  } catch {
    // `flush` and `waitUntil` are what is left.
  }
}

class Queue {
  readonly #url: string;
  readonly #key: string;
  readonly #most: number;
  readonly #interval: number;
  readonly #patience: number;
  readonly #rate: number;
  readonly #now: () => number;
  readonly #redactor: Redactor;
  #waiting: Waiting[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<void> | undefined;
  #failures = 0;
  #ended = false;
  readonly #counts = { sent: 0, refused: 0, dropped: 0, left: 0, direct: 0 };

  constructor(private readonly options: TelemetryOptions) {
    const key = options.apiKey ?? environment("HOOKPLANE_API_KEY");
    const endpoint = options.endpoint ?? environment("HOOKPLANE_ENDPOINT");
    if (key === undefined || !key.startsWith("hph_")) {
      throw new InvalidSetting("api_key", "give `apiKey`, a handler key that begins with hph_, or HOOKPLANE_API_KEY");
    }
    if (endpoint === undefined || !/^https?:\/\/[^/?#]+\/?$/.test(endpoint)) {
      throw new InvalidSetting("endpoint", "give `endpoint`, the agent's address such as http://agent:8088, or HOOKPLANE_ENDPOINT");
    }
    this.#key = key;
    this.#url = `${endpoint.replace(/\/$/, "")}/handlers/v1/reports`;
    this.#rate = number("sampleRate", options.sampleRate, 1, 0, 1);
    this.#most = number("maxQueue", options.maxQueue, 1_000, 1, 100_000);
    this.#interval = number("flushIntervalMs", options.flushIntervalMs, 1_000, 0, 60_000);
    this.#patience = number("giveUpAfterMs", options.giveUpAfterMs, 60_000, 1, 3_600_000);
    this.#now = options.now ?? Date.now;
    this.#redactor = new Redactor(options.redact);
  }

  get counts(): Counts {
    return { ...this.#counts, waiting: this.#waiting.length };
  }

  /** Nothing of it reaches the handler, not even what its own clock or hook throws. */
  hear(ended: Ended): void {
    try {
      this.#take(ended);
    } catch {
      this.#counts.dropped += 1;
    }
  }

  #take(ended: Ended): void {
    const eventId = first(ended.message.headers, "hookplane-event-id");
    if (eventId === undefined) {
      this.#counts.direct += 1;
      return;
    }
    const { outcome } = ended.verdict;
    const failure = outcome !== "completed" && outcome !== "ignored";
    if (!failure && (this.options.random ?? Math.random)() >= this.#rate) {
      this.#counts.left += 1;
      return;
    }
    let report: Report | null | undefined = this.#report(ended, eventId, failure);
    try {
      report = this.options.beforeSend === undefined ? report : this.options.beforeSend(report);
    } catch {
      report = null;
    }
    if (report === null || report === undefined) {
      this.#counts.left += 1;
      return;
    }
    const text = JSON.stringify(report);
    if (text.length > MOST_OF_A_REPORT) {
      this.#counts.dropped += 1;
      return;
    }
    this.#waiting.push({ id: report.id, text, since: this.#now(), failure });
    this.#trim();
    if (!this.#keepAlive()) {
      this.#later(this.#interval);
    }
  }

  /** Ids, sizes and words of the handler, and what the wrap asks for beside them. */
  #report({ settled, message, verdict, ...ended }: Ended, eventId: string, failure: boolean): Report {
    const { release = environment("HOOKPLANE_RELEASE"), environment: stage = environment("HOOKPLANE_ENVIRONMENT") } = this.options;
    const { given } = settled;
    const provider = given.provider as Provider;
    const attempt = Number(first(message.headers, "hookplane-attempt"));
    const messageId = message.id(provider);
    const eventType = message.type(provider, given.eventTypeHeader, given.eventTypeField);
    const traceparent = first(message.headers, "traceparent");
    return {
      id: random(12),
      source: settled.source,
      event_id: eventId,
      ...(attempt >= 1 ? { attempt } : {}),
      outcome: verdict.outcome,
      ...(verdict.reason === undefined ? {} : { reason: verdict.reason.slice(0, 512) }),
      ...(verdict.retry === undefined ? {} : { retry: verdict.retry }),
      ...(verdict.steps.length === 0 ? {} : { steps: Object.fromEntries(verdict.steps) }),
      endpoint: given.endpointName ?? ended.path,
      ...(messageId === undefined ? {} : { message_id: messageId }),
      ...(eventType === undefined ? {} : { event_type: eventType }),
      ...(traceparent === undefined ? {} : { traceparent }),
      status: ended.answered?.status ?? 0,
      size: message.body.length,
      at: new Date(ended.at).toISOString(),
      latency_ms: Math.max(0, settled.now() - ended.at),
      sample_rate: failure ? 1 : this.#rate,
      sdk: SDK,
      ...(release === undefined ? {} : { release }),
      ...(stage === undefined ? {} : { environment: stage }),
      ...this.#captured(given, message),
    };
  }

  #captured({ captureHeaders, captureBody, metadata }: Options, message: Message): Partial<Report> {
    const body = captureBody === true && message.body.length <= MOST_OF_A_REPORT ? this.#redactor.body(message.json) : undefined;
    return {
      ...(captureHeaders === true ? { headers: this.#redactor.headers(message.headers) } : {}),
      ...(body === undefined ? {} : { body }),
      ...(metadata !== undefined && JSON.stringify(metadata).length <= MOST_OF_METADATA ? { metadata } : {}),
    };
  }

  /** Where there is no room the latest success goes, and a failure only where there are no successes. */
  #trim(): void {
    for (; this.#waiting.length > this.#most; this.#counts.dropped += 1) {
      let place = this.#waiting.length - 1;
      while (place >= 0 && this.#waiting[place]?.failure === true) {
        place -= 1;
      }
      this.#waiting.splice(place < 0 ? this.#most : place, 1);
    }
  }

  /** Where a function is frozen once it has answered: sent at once, and the platform waits for it. */
  #keepAlive(): boolean {
    const keep = this.options.waitUntil ?? ofPlatform();
    if (keep === undefined) {
      return false;
    }
    try {
      keep(this.flush());
      return true;
    } catch {
      return false;
    }
  }

  #later(millis: number): void {
    if (this.#timer !== undefined || this.#ended || this.#waiting.length === 0) {
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#send();
    }, millis);
    // A process is not kept alive by it.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  async flush(withinMs = 2_000): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    const until = this.#now() + withinMs;
    const all = async () => {
      // What fails is not tried for ever: its pause goes on after this.
      while ((this.#sending !== undefined || this.#waiting.length > 0) && this.#now() < until) {
        const before = this.#failures;
        await this.#send();
        if (this.#failures > before) {
          return;
        }
      }
    };
    await Promise.race([all(), over]);
    clearTimeout(timer);
  }

  end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#counts.dropped += this.#waiting.length;
    this.#waiting = [];
  }

  /** One call at a time. */
  #send(): Promise<void> {
    this.#sending ??= this.#call().finally(() => {
      this.#sending = undefined;
      this.#later(this.#failures === 0 ? this.#interval : this.#pause());
    });
    return this.#sending;
  }

  #pause(): number {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures, 10));
    return most / 2 + (this.options.random ?? Math.random)() * most / 2;
  }

  async #call(): Promise<void> {
    const oldest = this.#now() - this.#patience;
    const inTime = this.#waiting.filter(({ since }) => since > oldest);
    this.#counts.dropped += this.#waiting.length - inTime.length;
    let room = MOST_OF_A_CALL;
    const batch = inTime.slice(0, MOST_AT_ONCE).filter(({ text }) => (room -= text.length) >= 0);
    this.#waiting = inTime.slice(batch.length);
    if (batch.length === 0) {
      return;
    }
    const back = (some: readonly Waiting[]) => {
      this.#waiting = [...some, ...this.#waiting];
      this.#trim();
      if (this.#ended) {
        this.end();
      }
    };
    try {
      const answer = await (this.options.fetch ?? fetch)(this.#url, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${this.#key}` },
        body: `{"reports":[${batch.map(({ text }) => text).join(",")}]}`,
        signal: AbortSignal.timeout(CALL_MS),
      });
      if (answer.status === 202) {
        this.#failures = 0;
        const { refused = [] } = await answer.json() as { refused?: Array<{ id: string; code: string }> };
        const later = new Set(refused.filter(({ code }) => code === LATER).map(({ id }) => id));
        this.#counts.refused += refused.length - later.size;
        this.#counts.sent += batch.length - refused.length;
        if (later.size > 0) {
          back(batch.filter(({ id }) => later.has(id)));
          this.#failures = 1;
        }
        return;
      }
      await answer.body?.cancel();
      if (answer.status < 500 && answer.status !== 429 && answer.status !== 408) {
        // The same again would be refused again.
        this.#failures = 0;
        this.#counts.refused += batch.length;
        return;
      }
    } catch {
      // Not reached in time; another call may.
    }
    this.#failures += 1;
    back(batch);
  }
}

/** What the platform offers to a function under way. */
function ofPlatform(): TelemetryOptions["waitUntil"] {
  const places = globalThis as unknown as Record<symbol, { get?: () => unknown } | undefined>;
  for (const name of ["@next/request-context", "@vercel/request-context"]) {
    const found = places[Symbol.for(name)]?.get?.() as { waitUntil?: TelemetryOptions["waitUntil"] } | undefined;
    if (typeof found?.waitUntil === "function") {
      return found.waitUntil.bind(found);
    }
  }
  return undefined;
}
