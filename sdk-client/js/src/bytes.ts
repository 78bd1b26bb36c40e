/** Bytes as text, and back. Nothing of it throws but `text`. */

/** Throws for what is no UTF-8. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

/** The JSON that the bytes hold; `undefined` when they hold none. */
export function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(text(bytes));
  } catch {
    return undefined;
  }
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** So many random bytes, in hex. */
export function random(bytes: number): string {
  return toHex(crypto.getRandomValues(new Uint8Array(bytes)));
}
