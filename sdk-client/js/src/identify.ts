/** Which message it is, and of what type: read from where each provider tells it. Hints, never errors. */
import { json } from "./bytes.js";
import { first, type Pairs } from "./headers.js";
import type { Provider } from "./signature.js";

const MAX_ID = 256;
const MAX_TYPE = 128;

/** Header names, or paths into the body; the first that holds a text counts. */
type Place = readonly [headers: readonly string[], paths: readonly string[]];

const NONE: Place = [[], []];
const STANDARD: readonly [Place, Place] = [[["svix-id", "webhook-id"], []], [[], ["type", "event_type"]]];
const PLACES: Partial<Record<string, readonly [id: Place, type: Place]>> = {
  clerk: STANDARD,
  svix: STANDARD,
  "standard-webhooks": STANDARD,
  github: [[["x-github-delivery"], []], [["x-github-event"], []]],
  stripe: [[[], ["id"]], [[], ["type"]]],
  shopify: [[["x-shopify-webhook-id"], []], [["x-shopify-topic"], []]],
  slack: [[[], ["event_id"]], [[], ["event.type", "type"]]],
  // The event's id: a retry has it again, what a person sends again has its own.
  hookplane: [[["hookplane-event-id"], []], [[], ["type", "event_type", "event"]]],
};

/** A request as it is looked at: its body is parsed once, and only when somebody asks. */
export class Message {
  #json: { readonly value: unknown } | undefined;

  constructor(
    readonly headers: Pairs,
    readonly body: Uint8Array,
  ) {}

  /** The body's JSON; `undefined` when it holds none. */
  get json(): unknown {
    if (this.#json === undefined) {
      this.#json = { value: json(this.body) };
    }
    return this.#json.value;
  }

  id(provider: Provider): string | undefined {
    return this.#find(PLACES[provider]?.[0] ?? NONE, MAX_ID);
  }

  type(provider: Provider, header?: string, field?: string): string | undefined {
    const told = header === undefined && field === undefined
      ? PLACES[provider]?.[1] ?? NONE
      : [header === undefined ? [] : [header], field === undefined ? [] : [field]] as const;
    return this.#find(told, MAX_TYPE);
  }

  #find([headers, paths]: Place, most: number): string | undefined {
    let found = headers.map((name) => first(this.headers, name.toLowerCase())).find((text) => text !== undefined);
    for (const path of found === undefined ? paths : []) {
      const value = path.split(".").reduce<unknown>(inside, this.json);
      if (typeof value === "string" && value !== "") {
        found = value;
        break;
      }
    }
    return found !== undefined && found.length <= most ? found : undefined;
  }
}

function inside(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
