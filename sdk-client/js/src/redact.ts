/**
 * What of a request may leave with a report, when a wrap asks for it: headers and fields of a JSON body.
 *
 * Invariants: what has the name of a secret is replaced, and a name in doubt is one; a body that is no JSON has no
 * names and is never shown; all that is shown has a bound. Queries of addresses are not looked at: none is ever sent.
 */
import type { Pairs } from "./headers.js";
import { InvalidSetting } from "./signature.js";

const REDACTED = "[redacted]";
const MOST_HEADERS = 64;
const MOST_OF_A_HEADER = 256;
const MOST_OF_A_BODY = 8_192;
const DEEPEST = 32;

/** Of headers; signatures too, as one of them lets a request be sent again while it is fresh. */
const SECRET_HEADER = /auth|cookie|signature|hmac|token|secret|key|password|session|credential|force/;
/** Of fields, without their case and their `_` and `-`. */
const SECRET_FIELD = /passw|passphrase|passcode|secret|token|apikey|privatekey|authorization|credential|cookie|cardnumber|socialsecurity|^(?:cvv|cvc|iban|ssn|otp|pin)$/;

export interface Redactions {
  /** More names of headers, in any case. */
  headers?: readonly string[];
  /** More names of fields, wherever they stand in a body; or paths from its top, `data.email_addresses`. */
  fields?: readonly string[];
}

export class Redactor {
  readonly #headers: ReadonlySet<string>;
  readonly #fields: ReadonlySet<string>;
  readonly #paths: ReadonlySet<string>;

  constructor({ headers = [], fields = [] }: Redactions = {}) {
    if (![...headers, ...fields].every((name) => typeof name === "string" && name !== "")) {
      throw new InvalidSetting("redact", "`redact` holds lists of names");
    }
    this.#headers = new Set(headers.map((name) => name.toLowerCase()));
    this.#fields = new Set(fields.filter((name) => !name.includes(".")).map(plain));
    this.#paths = new Set(fields.filter((name) => name.includes(".")));
  }

  headers(pairs: Pairs): Record<string, string> {
    const shown: Record<string, string> = Object.create(null);
    for (const [given, value] of pairs.slice(0, MOST_HEADERS)) {
      const name = given.toLowerCase();
      const secret = SECRET_HEADER.test(name) || this.#headers.has(name);
      const before = shown[name];
      shown[name] = secret ? REDACTED : (before === undefined ? value : `${before}, ${value}`).slice(0, MOST_OF_A_HEADER);
    }
    return shown;
  }

  /** Text of a JSON value, cut at its bound; of anything else that may be JSON's. */
  body(value: unknown): string | undefined {
    return value === undefined ? undefined : JSON.stringify(this.#inside(value, "", 0))?.slice(0, MOST_OF_A_BODY);
  }

  #inside(value: unknown, path: string, depth: number): unknown {
    if (typeof value !== "object" || value === null) {
      return value;
    }
    if (depth >= DEEPEST) {
      return REDACTED;
    }
    if (Array.isArray(value)) {
      // Places in lists are no part of a path.
      return value.map((one) => this.#inside(one, path, depth + 1));
    }
    return Object.fromEntries(Object.entries(value).map(([name, one]) => {
      const whole = path === "" ? name : `${path}.${name}`;
      const secret = SECRET_FIELD.test(plain(name)) || this.#fields.has(plain(name)) || this.#paths.has(whole);
      return [name, secret ? REDACTED : this.#inside(one, whole, depth + 1)];
    }));
  }
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[_-]/g, "");
}
