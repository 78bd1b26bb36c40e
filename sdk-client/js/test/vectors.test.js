// The rows that the gateway itself is judged by, each with the same verdict and reason.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { InvalidSetting, Refusal, Verifier } from "@hookplane/handler";

const file = new URL("../../../tests/vectors/signatures.json", import.meta.url);
const { rows } = JSON.parse(readFileSync(file, "utf8"));

for (const row of rows) {
  test(row.name, async () => {
    const provider = row.provider.toLowerCase().replaceAll("_", "-");
    const verifier = new Verifier(provider, row.secrets);
    const body = Buffer.from(row.body_base64, "base64");
    const judged = verifier.verify({ headers: row.headers, body }, row.now);
    if (row.expect.refused !== undefined) {
      await assert.rejects(judged, (error) => error instanceof Refusal && error.reason === row.expect.refused);
    } else {
      assert.equal((await judged).by, row.expect.verified_by);
    }
  });
}

test("a secret that can never work is refused when the handler is wrapped", () => {
  for (const [provider, secret, code] of [
    ["clerk", "", "secret_empty"],
    ["clerk", " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret_whitespace"],
    ["clerk", "sk_live_1", "secret_prefix"],
    ["clerk", "whsec_*", "secret_not_base64"],
    ["clerk", "whsec_AAAA", "secret_too_short"],
    ["clerk", `whsec_${"A".repeat(104)}`, "secret_too_long"],
    ["clerk", "whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw", "secret_whitespace"],
    ["clerk", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "secret_prefix"],
    ["svix", "whpk_AAAA", "public_key_invalid"],
    ["github", "secret\n", "secret_whitespace"],
    ["paddle", "secret", "provider_unsupported"],
    ["clerk", [], "secrets"],
  ]) {
    assert.throws(() => new Verifier(provider, secret), (error) => error instanceof InvalidSetting && error.code === code);
  }
});
