/**
 * One request through the stages, whatever the framework: verify, claim, run, judge, answer.
 * Adapters bring raw bytes and take the answer; they know no rule of this.
 */
import { claim, type Held, keyOf } from "./claims.js";
import type { Recorded } from "./dedupe.js";
import { first, type Pairs, view } from "./headers.js";
import { Message } from "./identify.js";
import { tell } from "./observe.js";
import { type Options, type Settled, settle } from "./options.js";
import { InvalidSetting, Refusal, hex, type Provider } from "./signature.js";
import { Marks, toHeaders, type Track, type Verdict } from "./track.js";

export type { Options } from "./options.js";

const utf8 = new TextEncoder();

/** What an adapter does with a body past its bound. */
export const TOO_LARGE: Answer = json(413, { error: "too large", code: "BODY_TOO_LARGE" });
/** Bytes of an answer that are kept for repeats. */
export const MAX_RECORDED = 64 * 1024;

/** An answer made here, instead of the handler's. */
export interface Answer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Uint8Array;
}

export type HeaderList = ReadonlyArray<readonly [string, string]>;

/** A request, as an adapter brings it. */
export interface Arrival {
  /** The framework's own, for callbacks. */
  readonly request: unknown;
  readonly path: string;
  readonly headers: Pairs;
  readonly body: Uint8Array;
}

/** What a handler answered; without a body when it was past `MAX_RECORDED`. */
export interface Answered {
  readonly status: number;
  readonly contentType?: string | undefined;
  readonly body?: Uint8Array | undefined;
}

/** Whether the handler may run, and what has to follow. */
export type Admission =
  | { readonly answer: Answer }
  | { readonly work: Work };

/** A handler at work. Of `finish` and `crashed` the first call counts. */
export interface Work {
  readonly track: Track;
  readonly verified: boolean;
  /** Whether the answer's body is wanted for repeats. */
  readonly records: boolean;
  /** The headers to add when the head of an answer has to leave before its end: none, unless a mark was made. */
  early(status: number): HeaderList;
  /** Once it has answered: the headers to add. */
  finish(answered: Answered): Promise<HeaderList>;
  /** It threw. Gives the headers for whoever answers instead. */
  crashed(error: unknown): Promise<HeaderList>;
}

export class Gate {
  readonly settled: Settled;

  /** Throws an `InvalidSetting`, so that a wrong secret shows at the start. */
  constructor(options: Options) {
    this.settled = settle(options);
  }

  async admit(arrival: Arrival): Promise<Admission> {
    const { given } = this.settled;
    const message = new Message(arrival.headers, arrival.body);
    const refusal = await this.#refusal(message);
    if (refusal !== undefined && given.rejectInvalidSignatures !== false) {
      return { answer: json(401, { error: "unauthorized", code: "SIGNATURE_INVALID" }) };
    }
    const text = refusal === undefined && given.provider === "slack" ? challengeOf(message) : undefined;
    if (text !== undefined) {
      return { answer: { status: 200, headers: [["content-type", "text/plain"]], body: utf8.encode(text) } };
    }
    // Forged requests must not take the place of real ones.
    const claimed = refusal === undefined ? await this.#claim(arrival, message) : {};
    return claimed.answer === undefined
      ? { work: this.#work(arrival, message, refusal === undefined, claimed.held) }
      : { answer: claimed.answer };
  }

  /** A body that a parser took, for the log; gives what to throw. */
  alreadyParsed(hint: string): Error {
    const error = new InvalidSetting("already_parsed", `already_parsed: something read the body first; ${hint}`);
    this.settled.log("a request was refused", { provider: this.settled.given.provider, reason: error.code, detail: hint });
    return error;
  }

  #work({ headers, path }: Arrival, message: Message, verified: boolean, held: Held | undefined): Work {
    const { given, now } = this.settled;
    const at = now();
    const marks = new Marks(given.steps, now);
    const required = given.requireProcessingMark ?? false;
    // Never shown to a provider.
    const shown = (verdict: Verdict) => isBehindGateway(headers) ? toHeaders(verdict) : [];
    let ended: Promise<HeaderList> | undefined;
    const end = async (verdict: Verdict, answered?: Answered): Promise<HeaderList> => {
      tell(this.settled, path, message, verdict, answered, at);
      if (verdict.deferral !== undefined) {
        await held?.keep(verdict.deferral.deadline.getTime() - now());
      } else if (answered !== undefined && isDone(verdict)) {
        await held?.complete(record(verdict, answered));
      } else {
        await held?.release();
      }
      return shown(verdict);
    };
    return {
      track: marks,
      verified,
      records: held !== undefined,
      early: (status) => marks.made ? shown(marks.verdict(status, required)) : [],
      finish: (answered) => ended ??= end(marks.verdict(answered.status, required), answered),
      crashed: (error) => ended ??= end(marks.crash(error)),
    };
  }

  /** Why the request is not believed; `undefined` when it is. */
  async #refusal(message: Message): Promise<string | undefined> {
    const { given, gateway, verifier, now, log } = this.settled;
    let [reason, detail] = ["verifier_refused", "`signatureVerifier` said no"];
    try {
      const signed = first(message.headers, "hookplane-signature") !== undefined;
      const chosen = gateway !== undefined && (signed || (verifier ?? given.signatureVerifier) === undefined) ? gateway : verifier;
      if (chosen !== undefined) {
        await chosen.verify(message, Math.floor(now() / 1000));
        return undefined;
      }
      if (await given.signatureVerifier?.(message.body, view(message.headers)) === true) {
        return undefined;
      }
    } catch (error) {
      [reason, detail] = error instanceof Refusal ? [error.reason, error.detail] : ["verifier_threw", String(error)];
    }
    log("a request was refused", { provider: given.provider, reason, detail });
    return reason;
  }

  async #claim(arrival: Arrival, message: Message): Promise<{ answer?: Answer; held?: Held }> {
    const { given, source } = this.settled;
    const own = given.idempotencyKey;
    const id = own === undefined
      ? message.id(given.provider as Provider) ?? first(message.headers, "hookplane-event-id")
      : own(arrival.request, message.json, view(message.headers));
    if (given.store === undefined || typeof id !== "string" || id === "") {
      return {};
    }
    const key = await keyOf(source, given.endpointName ?? arrival.path, id);
    const claimed = await claim(this.settled, given.store, key);
    switch (claimed.state) {
      case "held":
        return { held: claimed.held };
      case "done":
        return await this.#isForced(message.headers) ? {} : { answer: again(claimed.recorded, message.headers) };
      case "in_progress": {
        const seconds = String(Math.max(1, Math.ceil(claimed.retryAfterMs / 1000)));
        return { answer: json(409, { error: "in progress", code: "IN_PROGRESS" }, [["retry-after", seconds]]) };
      }
      default:
        return given.onStoreError === "closed"
          ? { answer: json(503, { error: "try again", code: "STORE_UNREACHABLE" }, [["retry-after", "5"]]) }
          : {};
    }
  }

  /** The gateway signs that a person wants done work to be done again. */
  async #isForced(headers: Pairs): Promise<boolean> {
    const { gateway, now } = this.settled;
    const [, at, tag] = /^t=([0-9]{1,12}),v1=([0-9a-f]{64})$/.exec(first(headers, "hookplane-force") ?? "") ?? [];
    const [event, attempt] = [first(headers, "hookplane-event-id"), first(headers, "hookplane-attempt")];
    return gateway !== undefined && tag !== undefined && Math.abs(now() / 1000 - Number(at)) <= gateway.tolerance
      && gateway.proves(utf8.encode(`force.${event}.${attempt}.${at}`), hex(tag) ?? new Uint8Array());
  }
}

/** Slack's check of the address, which the handler need not know. */
function challengeOf({ json }: Message): string | undefined {
  const { type, challenge } = (json ?? {}) as Record<string, unknown>;
  const fits = type === "url_verification" && typeof challenge === "string" && challenge !== "" && challenge.length <= 512;
  return fits ? challenge : undefined;
}

function isBehindGateway(headers: Pairs): boolean {
  return first(headers, "hookplane-event-id") !== undefined;
}

function isDone({ outcome }: Verdict): boolean {
  return outcome === "completed" || outcome === "ignored";
}

function record({ outcome, reason }: Verdict, { status, contentType, body }: Answered): Recorded {
  return {
    outcome: outcome === "ignored" ? outcome : "completed",
    reason,
    status,
    contentType,
    body: body !== undefined && body.length <= MAX_RECORDED ? body : undefined,
  };
}

/** The recorded answer; of one whose body was not kept, its status. */
function again({ outcome, reason, status, contentType, body }: Recorded, headers: Pairs): Answer {
  const type: HeaderList = contentType === undefined || body === undefined ? [] : [["content-type", contentType]];
  const told: HeaderList = isBehindGateway(headers) ? [["hookplane-duplicate", "true"], ...toHeaders({ outcome, reason, steps: [] })] : [];
  return { status, headers: [...type, ...told], body: body ?? new Uint8Array() };
}

function json(status: number, value: unknown, more: HeaderList = []): Answer {
  return { status, headers: [["content-type", "application/json"], ...more], body: utf8.encode(JSON.stringify(value)) };
}
