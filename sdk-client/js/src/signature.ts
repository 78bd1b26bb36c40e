/**
 * Whether a request comes from who it says. Pure over bytes; the same verdicts and reasons as
 * the gateway's own (one set of vectors is run against both).
 */
import { text as utf8Text } from "./bytes.js";
import { all, type Pairs } from "./headers.js";

export type Provider =
  | "clerk" | "svix" | "standard-webhooks" | "github" | "stripe" | "shopify" | "slack"
  | "hookplane";

const PROVIDERS: readonly string[] =
  ["clerk", "svix", "standard-webhooks", "github", "stripe", "shopify", "slack", "hookplane"] satisfies Provider[];

/** Throws an `InvalidSetting` for another. */
export function known(name: string): void {
  if (!PROVIDERS.includes(name)) {
    throw new InvalidSetting("provider_unsupported", `no check is known for ${JSON.stringify(name)}`);
  }
}

export type Reason =
  | "header_missing" | "header_duplicated" | "header_malformed" | "headers_mixed" | "id_invalid"
  | "timestamp_malformed" | "timestamp_in_milliseconds" | "timestamp_too_old"
  | "timestamp_too_new" | "versions_unsupported" | "signature_mismatch";

/** Not believed. The detail is for operators and never holds a secret or a body. */
export class Refusal extends Error {
  constructor(readonly reason: Reason, readonly detail: string) {
    super(`${reason}: ${detail}`);
    this.name = "Refusal";
  }
}

/** A setting that can never work; thrown when a handler is wrapped, not per request. */
export class InvalidSetting extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
    this.name = "InvalidSetting";
  }
}

export interface Verified {
  /** `clerk v1 secret 1 of 2` */
  readonly by: string;
  /** Place of the secret that matched, from 0. */
  readonly secret: number;
}

export interface Inbound {
  readonly headers: Pairs;
  /** As received, before any decoding. */
  readonly body: Uint8Array;
}

const MAX_SECRETS = 10;
const MAX_ENTRIES = 32;
/** In seconds it would be the year 2286. */
const MILLISECONDS_FROM = 10_000_000_000;
const utf8 = new TextEncoder();

type Tags = Uint8Array[];
type Key = { readonly bytes: Uint8Array; readonly isPublic: boolean; imported?: CryptoKey };
/** What the signature covers, what was given, and how it is called; throws a `Refusal`. */
type Reading = {
  readonly signed: Uint8Array;
  readonly entries: ReadonlyArray<{ readonly version: string; readonly tag: Uint8Array }>;
  readonly label: (version: string) => string;
  readonly sentAt?: number;
};

export class Verifier {
  readonly #keys: Key[];

  /** `tolerance` in seconds, either way. */
  constructor(
    readonly provider: Provider,
    secrets: string | readonly string[],
    readonly tolerance = 300,
  ) {
    known(provider);
    if (!(tolerance >= 0)) {
      throw new InvalidSetting("number", "the tolerance is in seconds");
    }
    const list = typeof secrets === "string" ? [secrets] : [...secrets];
    if (list.length === 0 || list.length > MAX_SECRETS) {
      throw new InvalidSetting("secrets", `give 1 to ${MAX_SECRETS} secrets, not ${list.length}`);
    }
    this.#keys = list.map((text) => key(provider, text));
  }

  /** Whether one of the secrets made this tag over the message. */
  async proves(message: Uint8Array, tag: Uint8Array): Promise<boolean> {
    for (const key of this.#keys) {
      if (!key.isPublic && await fits(key, message, tag)) {
        return true;
      }
    }
    return false;
  }

  /** Throws a `Refusal`. `now` in Unix seconds. */
  async verify(inbound: Inbound, now: number): Promise<Verified> {
    const reading = read(this.provider, inbound);
    if (reading.sentAt !== undefined) {
      fresh(reading.sentAt, now, this.tolerance);
    }
    for (const { version, tag } of reading.entries) {
      for (const [place, candidate] of this.#keys.entries()) {
        if (candidate.isPublic === (version === "v1a") && await fits(candidate, reading.signed, tag)) {
          const by = `${reading.label(version)} secret ${place + 1} of ${this.#keys.length}`;
          return { by, secret: place };
        }
      }
    }
    throw new Refusal(
      "signature_mismatch",
      `none of ${this.#keys.length} secrets matches: another one signed it, or the body was changed on the way`,
    );
  }
}

/** HMAC-SHA256, for who signs. */
export async function hmac(key: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  const imported = await crypto.subtle.importKey(
    "raw", key as BufferSource, { name: "HMAC", hash: "SHA-256" }, false, ["sign"],
  );
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message as BufferSource));
}

async function fits(key: Key, message: Uint8Array, tag: Uint8Array): Promise<boolean> {
  const algorithm = key.isPublic ? { name: "Ed25519" } : { name: "HMAC", hash: "SHA-256" };
  key.imported ??= await crypto.subtle.importKey("raw", key.bytes as BufferSource, algorithm, false, ["verify"]);
  // Constant in time.
  return crypto.subtle.verify(algorithm.name, key.imported, tag as BufferSource, message as BufferSource);
}

function key(provider: Provider, text: string): Key {
  if (typeof text !== "string" || text === "") {
    throw new InvalidSetting("secret_empty", "a secret is needed");
  }
  // White space inside one's own secret is legal; around it, it is a slip of the clipboard.
  if (isStandard(provider) ? /\s/.test(text) : text.trim() !== text) {
    throw new InvalidSetting("secret_whitespace", "the secret has white space");
  }
  if (!isStandard(provider)) {
    return { bytes: utf8.encode(text), isPublic: false };
  }
  if (text.startsWith("whpk_") && provider !== "clerk") {
    const bytes = lenientBase64(text.slice(5));
    if (bytes?.length !== 32) {
      throw new InvalidSetting("public_key_invalid", "a public key is `whpk_` and base64 of 32 bytes");
    }
    return { bytes, isPublic: true };
  }
  if (!text.startsWith("whsec_")) {
    const found = /^[sp]k_/.test(text) ? "looks like an API key"
      : /^whpk_/.test(text) ? "is a public key"
      : /^whsk_/.test(text) ? "is the sender's private key"
      : "is another text";
    throw new InvalidSetting("secret_prefix", `give the endpoint's signing secret, \`whsec_\` and base64; this ${found}`);
  }
  const bytes = lenientBase64(text.slice(6));
  if (bytes === undefined) {
    throw new InvalidSetting("secret_not_base64", "after `whsec_` there is no base64");
  }
  if (bytes.length < 16 || bytes.length > 75) {
    throw new InvalidSetting(bytes.length < 16 ? "secret_too_short" : "secret_too_long", `a secret has 16 to 75 bytes, not ${bytes.length}`);
  }
  return { bytes, isPublic: false };
}

function isStandard(provider: Provider): boolean {
  return provider === "clerk" || provider === "svix" || provider === "standard-webhooks";
}

function read(provider: Provider, inbound: Inbound): Reading {
  switch (provider) {
    case "github":
      return bodyOnly(inbound, "github", "x-hub-signature-256", "sha256=", hex);
    case "shopify":
      return bodyOnly(inbound, "shopify", "x-shopify-hmac-sha256", "", base64);
    case "stripe":
      return stripe(inbound);
    case "slack":
      return stamped(inbound, "slack", "x-slack-request-timestamp", "x-slack-signature", "v0", "v0:", ":");
    case "hookplane":
      // The gateway's own signature of a delivery: services behind it hold no provider's secret.
      return stamped(inbound, "hookplane", "hookplane-timestamp", "hookplane-signature", "v1", "", ".");
    default:
      return standard(provider, inbound);
  }
}

function standard(provider: Provider, { headers, body }: Inbound): Reading {
  const names = spelling(headers);
  const id = single(headers, names.id);
  if (id.includes(".") || id.length > 256 || !/^[\x21-\x7e]+$/.test(id)) {
    throw new Refusal("id_invalid", `\`${names.id}\` must be up to 256 visible characters without a full stop`);
  }
  const sentAt = single(headers, names.timestamp);
  const seconds = timestamp(names.timestamp, sentAt);
  const value = single(headers, names.signature);
  const entries: { version: string; tag: Uint8Array }[] = [];
  let [wellFormed, known] = [0, 0];
  for (const entry of value.split(" ").filter((one) => one !== "").slice(0, MAX_ENTRIES)) {
    const comma = entry.indexOf(",");
    if (comma < 0) {
      continue;
    }
    wellFormed += 1;
    const version = entry.slice(0, comma);
    if (version !== "v1" && version !== "v1a") {
      continue;
    }
    known += 1;
    const tag = base64(entry.slice(comma + 1));
    if (tag !== undefined) {
      entries.push({ version, tag });
    }
  }
  const unsigned = wellFormed === 0
    ? new Refusal("header_malformed", `\`${names.signature}\` holds no \`version,signature\` entry`)
    : known === 0
      ? new Refusal("versions_unsupported", `\`${names.signature}\` holds no entry of version v1 or v1a`)
      : undefined;
  return {
    signed: concat(utf8.encode(`${id}.${sentAt}.`), body),
    get entries() {
      // Judged after the time, as the gateway does.
      if (unsigned !== undefined) {
        throw unsigned;
      }
      return entries;
    },
    label: (version) => `${provider} ${version}`,
    sentAt: seconds,
  };
}

const SVIX = { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };
const WEBHOOK = { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };

/** One spelling per request: a mix would let one header be swapped for another's. */
function spelling(headers: Pairs): typeof SVIX {
  const present = (names: typeof SVIX) => Object.values(names).some((name) => all(headers, name).length > 0);
  const [svix, webhook] = [present(SVIX), present(WEBHOOK)];
  if (svix && webhook) {
    throw new Refusal("headers_mixed", "the request has both `svix-*` and `webhook-*` headers");
  }
  if (!svix && !webhook) {
    throw new Refusal("header_missing", "neither `svix-*` nor `webhook-*` headers are present");
  }
  return svix ? SVIX : WEBHOOK;
}

function stripe({ headers, body }: Inbound): Reading {
  const name = "stripe-signature";
  const malformed = (what: string) => new Refusal("header_malformed", `\`${name}\` ${what}`);
  let sentAt: string | undefined;
  let versions = 0;
  const tags: Tags = [];
  for (const pair of single(headers, name).split(",").slice(0, MAX_ENTRIES)) {
    const part = pair.trim();
    const equals = part.indexOf("=");
    if (equals < 0) {
      throw malformed("is not a list of key=value pairs");
    }
    const [field, text] = [part.slice(0, equals), part.slice(equals + 1)];
    if (field === "t") {
      if (sentAt !== undefined) {
        throw malformed("has two timestamps");
      }
      sentAt = text;
    } else if (field === "v1") {
      versions += 1;
      const tag = hex(text);
      if (tag !== undefined) {
        tags.push(tag);
      }
    }
  }
  if (sentAt === undefined) {
    throw malformed("has no `t=`");
  }
  const seconds = timestamp(name, sentAt);
  if (versions === 0) {
    throw new Refusal("versions_unsupported", `\`${name}\` has no \`v1=\` signature`);
  }
  return {
    signed: concat(utf8.encode(`${sentAt}.`), body),
    entries: tags.map((tag) => ({ version: "v1", tag })),
    label: () => "stripe v1",
    sentAt: seconds,
  };
}

/** A tag in one header over the time in another and the body. */
function stamped(
  { headers, body }: Inbound, by: string, stamp: string, name: string, version: string, before: string, after: string,
): Reading {
  const sentAt = single(headers, stamp);
  const seconds = timestamp(stamp, sentAt);
  const tag = versioned(name, single(headers, name), version);
  return {
    signed: concat(utf8.encode(before + sentAt + after), body),
    entries: [{ version, tag }],
    label: () => `${by} ${version}`,
    sentAt: seconds,
  };
}

/** `v0=<hex>` */
function versioned(name: string, value: string, wanted: string): Uint8Array {
  const equals = value.indexOf("=");
  if (equals < 0) {
    throw new Refusal("header_malformed", `\`${name}\` is not \`${wanted}=<hex>\``);
  }
  if (value.slice(0, equals) !== wanted) {
    throw new Refusal("versions_unsupported", `\`${name}\` is not of version ${wanted}`);
  }
  const tag = hex(value.slice(equals + 1));
  if (tag === undefined) {
    throw new Refusal("header_malformed", `\`${name}\` is not hex`);
  }
  return tag;
}

function bodyOnly(
  { headers, body }: Inbound,
  provider: string,
  name: string,
  prefix: string,
  decode: (text: string) => Uint8Array | undefined,
): Reading {
  const value = single(headers, name);
  if (!value.startsWith(prefix)) {
    throw new Refusal("header_malformed", `\`${name}\` does not start with \`${prefix}\``);
  }
  const tag = decode(value.slice(prefix.length));
  if (tag === undefined) {
    throw new Refusal("header_malformed", `\`${name}\` is in another encoding`);
  }
  return { signed: body, entries: [{ version: "hmac", tag }], label: () => `${provider} hmac` };
}

function single(headers: Pairs, name: string): string {
  const values = all(headers, name);
  if (values.length > 1) {
    throw new Refusal("header_duplicated", `\`${name}\` stands ${values.length} times in the request`);
  }
  const value = values[0]?.trim();
  if (value !== undefined && !isText(value)) {
    throw new Refusal("header_malformed", `\`${name}\` is not text`);
  }
  if (value === undefined || value === "") {
    throw new Refusal("header_missing", `\`${name}\` is ${value === undefined ? "missing" : "empty"}`);
  }
  return value;
}

/** Headers come as Latin-1, a letter for each byte; text in them is UTF-8. */
function isText(value: string): boolean {
  if (!/[\x80-\uffff]/.test(value)) {
    return true;
  }
  try {
    utf8Text(Uint8Array.from(value, (letter) => letter.charCodeAt(0)));
    return !/[\u0100-\uffff]/.test(value);
  } catch {
    return false;
  }
}

/** Digits only, so that junk, fractions and signs are refused. */
function timestamp(name: string, text: string): number {
  if (!/^[0-9]{1,18}$/.test(text)) {
    throw new Refusal("timestamp_malformed", `\`${name}\` is not a whole number of Unix seconds`);
  }
  const seconds = Number(text);
  if (seconds >= MILLISECONDS_FROM) {
    throw new Refusal("timestamp_in_milliseconds", `\`${name}\` seems to be in milliseconds`);
  }
  return seconds;
}

function fresh(sentAt: number, now: number, tolerance: number): void {
  const age = now - sentAt;
  if (age > tolerance) {
    throw new Refusal("timestamp_too_old", `signed ${age} s ago; ${tolerance} s are allowed`);
  }
  if (age < -tolerance) {
    throw new Refusal("timestamp_too_new", `signed ${-age} s in the future; ${tolerance} s are allowed`);
  }
}

function concat(head: Uint8Array, body: Uint8Array): Uint8Array {
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

export function hex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    return undefined;
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

function base64(text: string): Uint8Array | undefined {
  const valid = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
  return valid ? Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)) : undefined;
}

/** Secrets are taken without padding too. */
function lenientBase64(text: string): Uint8Array | undefined {
  const bare = text.replace(/=+$/, "");
  return base64(bare + "=".repeat((4 - (bare.length % 4)) % 4));
}
