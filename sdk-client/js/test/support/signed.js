// Signed requests, as providers and the gateway send them.
import { hmac } from "@hookplane/handler";

export const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY = Buffer.from(SECRET.slice(6), "base64");
export const DELIVERY = "a-secret-of-deliveries-1";

export const BEHIND = { "hookplane-event-id": "evt_1", "hookplane-attempt": "2" };

/** Options of a handler of Clerk's that says nothing. */
export const options = (more = {}) => ({ provider: "clerk", signatureSecret: SECRET, log: () => {}, ...more });

const seconds = () => String(Math.floor(Date.now() / 1000));

export async function signed(id, body, more = {}) {
  const bytes = Buffer.from(body);
  const at = seconds();
  const tag = await hmac(KEY, Buffer.concat([Buffer.from(`${id}.${at}.`), bytes]));
  const headers = {
    "content-type": "application/json",
    "svix-id": id,
    "svix-timestamp": at,
    "svix-signature": `v1,${Buffer.from(tag).toString("base64")}`,
    ...more,
  };
  return { method: "POST", headers, body: bytes };
}

/** As the gateway delivers it. */
export async function delivered(body, more = {}, secret = DELIVERY) {
  const at = seconds();
  const tag = await hmac(Buffer.from(secret), Buffer.concat([Buffer.from(`${at}.`), Buffer.from(body)]));
  const headers = {
    "content-type": "application/json",
    "hookplane-timestamp": at,
    "hookplane-signature": `v1=${Buffer.from(tag).toString("hex")}`,
    ...BEHIND,
    ...more,
  };
  return { method: "POST", headers, body };
}

export async function forced(event, attempt, secret = DELIVERY, at = seconds()) {
  const tag = await hmac(Buffer.from(secret), Buffer.from(`force.${event}.${attempt}.${at}`));
  return { "hookplane-force": `t=${at},v1=${Buffer.from(tag).toString("hex")}` };
}

export async function signedBySlack(body, secret) {
  const at = seconds();
  const tag = await hmac(Buffer.from(secret), Buffer.from(`v0:${at}:${body}`));
  const headers = {
    "content-type": "application/json",
    "x-slack-request-timestamp": at,
    "x-slack-signature": `v0=${Buffer.from(tag).toString("hex")}`,
  };
  return { method: "POST", headers, body };
}
