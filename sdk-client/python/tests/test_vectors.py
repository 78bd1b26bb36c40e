"""The rows that the gateway itself is judged by, each with the same verdict and reason."""

import base64
import json
import os
import unittest
from pathlib import Path

from hookplane import InvalidSetting, Refusal, Verifier, _ed25519

VECTORS = Path(
    os.environ.get("HOOKPLANE_VECTORS")
    or Path(__file__).parents[3] / "tests" / "vectors" / "signatures.json"
)


class SharedVectors(unittest.TestCase):
    def test_every_shared_vector_gives_its_verdict_and_reason(self):
        rows = json.loads(VECTORS.read_text("utf-8"))["rows"]
        self.assertGreater(len(rows), 50, "the table of vectors shrank")
        for row in rows:
            with self.subTest(row["name"]):
                provider = row["provider"].lower().replace("_", "-")
                verifier = Verifier(provider, row["secrets"])
                body = base64.b64decode(row["body_base64"])
                headers = [(name, value.encode("utf-8")) for name, value in row["headers"]]
                try:
                    got = {"verified_by": verifier.verify(headers, body, row["now"]).by}
                except Refusal as refusal:
                    got = {"refused": refusal.reason}
                self.assertEqual(got, row["expect"])

    def test_a_secret_that_can_never_work_is_refused_when_the_handler_is_wrapped(self):
        for provider, secret, code in [
            ("clerk", "", "secret_empty"),
            ("clerk", " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "secret_whitespace"),
            ("clerk", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "secret_whitespace"),
            ("clerk", "sk_live_1", "secret_prefix"),
            ("clerk", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "secret_prefix"),
            ("svix", "whpk_AAAA", "public_key_invalid"),
            ("clerk", "whsec_*", "secret_not_base64"),
            ("clerk", "whsec_AAAA", "secret_length"),
            ("clerk", [], "secrets"),
            ("clerk", [None], "secret_type"),
            ("paypal", "secret", "provider_unsupported"),
        ]:
            with self.subTest(code=code), self.assertRaises(InvalidSetting) as refused:
                Verifier(provider, secret)
            self.assertEqual(refused.exception.code, code)

    def test_no_foreign_exception_escapes_whatever_the_headers_hold(self):
        strange = [b"", b" ", b"\xff\xfe", b"v1", b"v1,", b",,,", b"t=,v1=", b"v0=", "é".encode()]
        for provider in ("clerk", "github", "stripe", "shopify", "slack", "hookplane"):
            secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if provider == "clerk" else "s"
            verifier = Verifier(provider, secret)
            names = [
                "svix-id",
                "svix-timestamp",
                "svix-signature",
                "x-hub-signature-256",
                "stripe-signature",
                "x-shopify-hmac-sha256",
                "x-slack-signature",
                "x-slack-request-timestamp",
                "hookplane-signature",
                "hookplane-timestamp",
            ]
            for value in strange:
                for stamp in (b"1700000000", value):
                    headers = [(n, stamp if "timestamp" in n else value) for n in names]
                    with self.subTest(provider, value=value), self.assertRaises(Refusal):
                        verifier.verify(headers, b"{}", 1_700_000_000)


class Ed25519(unittest.TestCase):
    # RFC 8032, section 7.1, tests 1 to 3.
    ROWS = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ]

    def test_published_signatures_verify_and_changed_ones_do_not(self):
        for row in self.ROWS:
            public, message, signature = map(bytes.fromhex, row)
            self.assertTrue(_ed25519._verifies(public, message, signature))
            self.assertFalse(_ed25519._verifies(public, message + b"!", signature))
            # The same point with a scalar past the order is another spelling, and refused.
            scalar = int.from_bytes(signature[32:], "little") + _ed25519._ORDER
            forged = signature[:32] + scalar.to_bytes(32, "little")
            self.assertFalse(_ed25519._verifies(public, message, forged))
            changed = bytes([signature[0] ^ 1]) + signature[1:]
            self.assertFalse(_ed25519._verifies(public, message, changed))


if __name__ == "__main__":
    unittest.main()
