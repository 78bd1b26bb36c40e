export { MemoryStore, type Claim, type Recorded, type Store } from "./dedupe.js";
export type { Options } from "./handle.js";
export type { Pairs } from "./headers.js";
export {
  InvalidSetting, Refusal, Verifier, hmac, type Inbound, type Provider, type Reason, type Verified,
} from "./signature.js";
export type { Outcome, StepState, Track, Verdict } from "./track.js";
