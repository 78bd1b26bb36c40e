/** What a wrapped handler gets, and small things that every adapter needs. */
import { json } from "./bytes.js";
import type { Work } from "./handle.js";
import type { Track } from "./track.js";

/** Beside the request. */
export interface Webhook {
  readonly track: Track;
  /** The raw bytes, as received and verified. */
  readonly raw: Uint8Array;
  readonly verified: boolean;
}

export function webhookOf({ track, verified }: Work, raw: Uint8Array): Webhook {
  return { track, raw, verified };
}

/** Without query, end slash and host. */
export function pathOf(url: string | undefined): string {
  const path = (url ?? "/").replace(/^[a-z]+:\/\/[^/?#]*/i, "").replace(/[?#].*$/s, "").replace(/\/+$/, "");
  return path === "" ? "/" : path;
}

/** JSON for handlers; a body that holds none, as it is. */
export function parsed(type: unknown, raw: Uint8Array): unknown {
  if (typeof type !== "string" || !/json/i.test(type)) {
    return raw;
  }
  const value = json(raw);
  return value === undefined ? raw : value;
}

export function concat(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
