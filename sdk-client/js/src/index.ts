export { MemoryStore, type Claim, type Recorded, type Store } from "./dedupe.js";
export type { Options } from "./options.js";
export type { HeaderView, Pairs } from "./headers.js";
export {
  InvalidSetting, Refusal, Verifier, hmac, type Inbound, type Provider, type Reason, type Verified,
} from "./signature.js";
export type { Outcome, StepState, Track, Verdict } from "./track.js";
export type { Webhook } from "./webhook.js";
