/**
 * Where telemetry listens, if it was begun. A place of the process and not of a module: a service may load
 * this package as ESM and as CommonJS. Whoever listens neither throws nor waits.
 */
import type { Message } from "./identify.js";
import type { Settled } from "./options.js";
import type { Verdict } from "./track.js";

/**
 * Hears of one delivery what it was wrapped with, what came and what came of it; without an answer the
 * handler threw. `at` is when it came, in Unix milliseconds. Bare arguments: every wrap carries this call.
 */
export type Observer = (
  settled: Settled,
  path: string,
  message: Message,
  verdict: Verdict,
  answered: { readonly status: number } | undefined,
  at: number,
) => void;

const PLACE = "hookplane";
const places = globalThis as unknown as Record<symbol, Observer | undefined>;

/** The one that listens from here on; nobody without one. */
export function listen(observer: Observer | undefined): void {
  places[Symbol.for(PLACE)] = observer;
}

export function tell(...ended: Parameters<Observer>): void {
  places[Symbol.for(PLACE)]?.(...ended);
}
