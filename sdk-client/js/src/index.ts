export { MemoryStore, type Claim, type Recorded, type Store } from "./dedupe.js";
export { Gate, messageId, type Admission, type Answer, type Options, type Work } from "./handle.js";
export type { Pairs } from "./headers.js";
export {
  InvalidSetting, Refusal, Verifier, hmac, type Inbound, type Provider, type Reason, type Verified,
} from "./signature.js";
export type { Outcome, StepState, Track, Verdict } from "./track.js";
