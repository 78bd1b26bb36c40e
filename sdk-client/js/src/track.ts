/** What a handler says about its own work, and how it travels back in the answer. */

import { random } from "./bytes.js";
import { InvalidSetting } from "./signature.js";

export type Outcome = "completed" | "ignored" | "failed" | "deferred" | "silent_drop" | "crashed" | "timed_out";
export type StepState = "done" | "failed" | "missing";

/** Given to the handler. The first mark counts; later ones change nothing. */
export interface Track {
  completed(): void;
  /** `retry`: another try may help. */
  failed(reason: string, options?: { retry?: boolean }): void;
  /** Not meant for this handler. */
  ignored(reason: string): void;
  /**
   * The work goes on after the answer, until then at the latest: a date or Unix milliseconds, 7 days ahead at most.
   * Gives the token that names it. Throws an `InvalidSetting` for a deadline that is none or has passed.
   */
  deferred(options: { deadline: Date | number }): string;
  /** A named part of the work is done, or has failed. */
  step(name: string, state?: "done" | "failed"): void;
}

export interface Verdict {
  readonly outcome: Outcome;
  readonly reason?: string | undefined;
  readonly retry?: boolean;
  readonly steps: ReadonlyArray<readonly [string, StepState]>;
  readonly deferral?: { readonly token: string; readonly deadline: Date };
}

const LONGEST_DEFERRAL = 7 * 24 * 3_600_000;
const MAX_REASON = 512;
const MAX_STEPS = 32;
const STEP = /^[a-z0-9_.-]{1,64}$/;

export class Marks implements Track {
  #mark: Omit<Verdict, "steps"> | undefined;
  readonly #steps = new Map<string, StepState>();

  constructor(declared: readonly string[] = [], private readonly now: () => number = Date.now) {
    for (const name of declared) {
      this.#set(name, "missing");
    }
  }

  completed(): void {
    this.#mark ??= { outcome: "completed" };
  }

  failed(reason: string, { retry = false }: { retry?: boolean } = {}): void {
    this.#mark ??= { outcome: "failed", reason: String(reason), retry };
  }

  ignored(reason: string): void {
    this.#mark ??= { outcome: "ignored", reason: String(reason) };
  }

  deferred({ deadline }: { deadline: Date | number }): string {
    const [at, now] = [Number(deadline), this.now()];
    if (!(at > now && at <= now + LONGEST_DEFERRAL)) {
      throw new InvalidSetting("deadline", "`deadline` lies ahead, by 7 days at most");
    }
    const token = "dfr_" + random(16);
    this.#mark ??= { outcome: "deferred", deferral: { token, deadline: new Date(at) } };
    return this.#mark.deferral?.token ?? token;
  }

  step(name: string, state: "done" | "failed" = "done"): void {
    this.#set(name, state);
  }

  #set(name: string, state: StepState): void {
    if (!STEP.test(name)) {
      throw new TypeError(`a step's name is 1 to 64 of a-z, 0-9, _, . and -, not ${JSON.stringify(name)}`);
    }
    if (this.#steps.size < MAX_STEPS || this.#steps.has(name)) {
      this.#steps.set(name, state);
    }
  }

  /** Whether the outcome can no longer change. */
  get made(): boolean {
    return this.#mark !== undefined;
  }

  /** Once the handler has thrown. */
  crash(error: unknown): Verdict {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { outcome: "crashed", reason, steps: [...this.#steps] };
  }

  /** Once the handler has answered. */
  verdict(status: number, marksAreRequired: boolean): Verdict {
    const steps = [...this.#steps];
    const mark = this.#mark;
    if (status < 200 || status > 299) {
      // The sender will try again, whatever the handler said: its work must stay open to that.
      return mark?.outcome === "failed"
        ? { ...mark, steps }
        : { outcome: "failed", reason: `answered ${status}${mark ? ` after ${mark.outcome}` : ""}`, retry: true, steps };
    }
    if (mark !== undefined) {
      return { ...mark, steps };
    }
    const open = steps.filter(([, state]) => state !== "done").map(([name]) => name);
    if (!marksAreRequired && open.length === 0) {
      return { outcome: "completed", steps };
    }
    const reason = open.length > 0 ? `steps not done: ${open.join(", ")}` : undefined;
    return { outcome: "silent_drop", reason, steps };
  }
}

/** The headers by which the gateway hears it; it takes them out of the exchange. */
export function toHeaders(verdict: Verdict): Array<[string, string]> {
  const headers: Array<[string, string]> = [["hookplane-outcome", verdict.outcome]];
  if (verdict.reason) {
    headers.push(["hookplane-outcome-reason", encoded(verdict.reason)]);
  }
  if (verdict.outcome === "failed") {
    headers.push(["hookplane-outcome-retry", String(verdict.retry ?? false)]);
  }
  if (verdict.steps.length > 0) {
    const list = verdict.steps.map(([name, state]) => `${name}=${state}`);
    headers.push(["hookplane-outcome-steps", list.join(",")]);
  }
  if (verdict.deferral !== undefined) {
    const deadline = Math.floor(verdict.deferral.deadline.getTime() / 1000);
    headers.push(["hookplane-deferral", `${verdict.deferral.token}; deadline=${deadline}`]);
  }
  return headers;
}

/** Percent-encoded, cut at a character. */
function encoded(text: string): string {
  let whole = "";
  for (const character of wellFormed(text)) {
    const next = encodeURIComponent(character);
    if (whole.length + next.length > MAX_REASON) {
      break;
    }
    whole += next;
  }
  return whole;
}

/** Half a surrogate pair cannot be encoded. */
function wellFormed(text: string): string {
  return text.replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, "\uFFFD");
}
