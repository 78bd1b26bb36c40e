"""The stages, without a framework."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
import unittest

from hookplane import Claim, InvalidSetting, MemoryStore, Options, Recorded, StoreFull, Track
from hookplane._headers import to_pairs
from hookplane.gate import Answer, Gate

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELIVERY = "a-secret-of-deliveries-1"


def request(message="msg_1", body=b'{"type":"user.created"}', more=()):
    at = str(int(time.time()))
    key = base64.b64decode(SECRET[6:])
    tag = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(tag).decode()
    named = [("svix-id", message), ("svix-timestamp", at), ("Svix-Signature", signature), *more]
    return None, to_pairs(named), body


def gate(asynchronous=False, **more):
    told = []
    settings = {"provider": "clerk", "signature_secret": SECRET, **more}
    options = Options(log=lambda what, detail: told.append((what, detail)), **settings)
    made = Gate(options, asynchronous=asynchronous)
    made.told = told
    return made


def code(admitted):
    return json.loads(admitted.body)["code"]


class Broken:
    """A store that fails, or never answers until it is let go."""

    def __init__(self, hang=False):
        self.hang = threading.Event()
        if not hang:
            self.hang.set()
        self.released = threading.Event()
        self.hangs = hang

    def claim(self, key, lease_ms, ttl_s):
        self.hang.wait(30)
        if self.hangs:
            return Claim("new", "late")
        raise ConnectionError("no route")

    def renew(self, token, lease_ms):
        return True

    def complete(self, token, recorded):
        pass

    def release(self, token):
        self.released.set()


class Stages(unittest.TestCase):
    def test_only_a_completed_2xx_is_recorded(self):
        for mark, status, repeated in [
            (Track.completed, 200, True),
            (Track.ignored, 204, True),
            (Track.completed, 500, False),
            (lambda track: track.failed("no"), 200, False),
            (lambda track: None, 200, False),
        ]:
            judge = gate(store=MemoryStore(), require_processing_mark=True)
            with judge.admit(*request()) as work:
                mark(work.webhook.track)
                work.finish(status, "text/plain", b"told")
            again = judge.admit(*request())
            self.assertEqual(isinstance(again, Answer), repeated, status)
            if repeated:
                self.assertEqual((again.status, again.body), (status, b"told"))

    def test_deferred_work_is_held_until_its_deadline(self):
        judge = gate(store=MemoryStore())
        with judge.admit(*request()) as work:
            work.webhook.track.deferred(deadline=600)
            work.finish(202, None, b"")
        waits = judge.admit(*request())
        self.assertEqual((waits.status, code(waits)), (409, "IN_PROGRESS"))
        self.assertGreater(int(dict(waits.headers)["retry-after"]), 500)

    def test_an_answer_too_large_to_keep_is_repeated_as_a_bare_200(self):
        judge = gate(store=MemoryStore())
        with judge.admit(*request()) as work:
            work.finish(201, "text/plain", b"x" * 100_000)
        again = judge.admit(*request())
        self.assertEqual((again.status, again.body), (200, b""))

    def test_who_only_observes_lets_a_forger_in_and_never_into_the_store(self):
        judge = gate(store=MemoryStore(), reject_invalid_signatures=False)
        _, pairs, _ = request()
        with judge.admit(None, pairs, b"forged") as work:
            self.assertFalse(work.webhook.verified)
            work.finish(200, None, b"")
        self.assertNotIsInstance(judge.admit(*request()), Answer)
        self.assertEqual(judge.told[0][1]["reason"], "signature_mismatch")

    def test_a_store_that_fails_or_hangs_is_passed_or_refused_as_chosen(self):
        for store in (Broken(), Broken(hang=True)):
            for choice in ("open", "closed"):
                judge = gate(store=store, on_store_error=choice, store_timeout=0.05)
                admitted = judge.admit(*request())
                self.assertEqual(isinstance(admitted, Answer), choice == "closed")
                if choice == "closed":
                    self.assertEqual(code(admitted), "STORE_UNREACHABLE")
                self.assertIn("the store of claims failed", judge.told[0][0])
            store.hang.set()
        self.assertTrue(store.released.wait(10), "a claim granted too late was kept")

    def test_a_hung_store_leaves_the_event_loop_alone(self):
        async def both():
            store = Broken(hang=True)
            judge = gate(asynchronous=True, store=store, store_timeout=30)
            waiting = asyncio.ensure_future(judge.admit_async(*request()))
            beats = 0
            while beats < 5:
                await asyncio.sleep(0.01)
                beats += 1
            self.assertFalse(waiting.done())
            store.hang.set()
            async with await waiting as work:
                await work.finish_async(200, None, b"")

        asyncio.run(both())

    def test_a_cancelled_handler_gives_its_message_back(self):
        async def cancelled():
            judge = gate(asynchronous=True, store=MemoryStore())
            begun = asyncio.Event()

            async def handle():
                async with await judge.admit_async(*request()):
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.ensure_future(handle())
            await begun.wait()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            admitted = await judge.admit_async(*request())
            self.assertNotIsInstance(admitted, Answer)
            await admitted.finish_async(200, None, b"")

        asyncio.run(cancelled())

    def test_a_lease_is_renewed_while_the_handler_runs(self):
        renewed = threading.Event()

        class Watched(MemoryStore):
            def renew(self, token, lease_ms):
                renewed.set()
                return super().renew(token, lease_ms)

        with gate(store=Watched(), lease=0.06).admit(*request()):
            self.assertTrue(renewed.wait(10))

    def test_a_verifier_of_ones_own_decides_and_may_be_async(self):
        seen = []

        def check(body, headers):
            seen.append((body, headers["SVIX-ID"]))
            return True

        judge = gate(provider="mine", signature_verifier=check)
        self.assertNotIsInstance(judge.admit(*request()), Answer)
        self.assertEqual(seen, [(b'{"type":"user.created"}', "msg_1")])

        async def refuse(body, headers):
            return False

        judge = gate(asynchronous=True, provider="mine", signature_verifier=refuse)
        self.assertEqual(asyncio.run(judge.admit_async(*request())).status, 401)
        judge = gate(provider="mine", signature_verifier=refuse)
        self.assertEqual(judge.admit(*request()).status, 401, "it cannot be asked in a thread")
        self.assertEqual(judge.told[0][1]["reason"], "verifier_threw")

    def test_a_key_of_ones_own_finds_headers_in_any_case(self):
        key = lambda request, body, headers: headers["Svix-Id"] + body["type"]  # noqa: E731
        judge = gate(store=MemoryStore(), idempotency_key=key)
        self.assertNotIsInstance(judge.admit(*request()), Answer)
        self.assertEqual(judge.admit(*request()).status, 409)

    def test_a_repeat_by_force_passes_only_with_the_gateways_proof(self):
        judge = gate(store=MemoryStore(), gateway_secret=DELIVERY)
        with judge.admit(*request()) as work:
            work.finish(200, None, b"")

        def forced(secret, at):
            message = f"force.evt_1.2.{at}".encode()
            tag = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
            ids = [("hookplane-event-id", "evt_1"), ("hookplane-attempt", "2")]
            return judge.admit(*request(more=[*ids, ("hookplane-force", f"t={at},v1={tag}")]))

        now = int(time.time())
        self.assertIsInstance(forced("another secret", now), Answer)
        self.assertIsInstance(forced(DELIVERY, now - 1_000), Answer)
        self.assertNotIsInstance(forced(DELIVERY, now), Answer)

    def test_slacks_check_of_the_address_is_answered(self):
        body = b'{"type":"url_verification","challenge":"abc"}'
        at = str(int(time.time()))
        tag = hmac.new(b"slack", f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
        headers = [("x-slack-request-timestamp", at), ("x-slack-signature", f"v0={tag}")]
        judge = gate(provider="slack", signature_secret="slack")
        answer = judge.admit(None, to_pairs(headers), body)
        self.assertEqual((answer.status, answer.body), (200, b"abc"))
        self.assertEqual(judge.admit(None, to_pairs(headers[:1]), body).status, 401)

    def test_settings_that_can_never_work_are_refused_when_the_handler_is_wrapped(self):
        class Asynchronous(Broken):
            async def claim(self, key, lease_ms, ttl_s):
                raise AssertionError

        for name, value in [
            ("on_store_error", "shut"),
            ("lease", 0),
            ("steps", ["Two Words"]),
            ("steps", "profile"),
            ("store", Asynchronous()),
        ]:
            with self.subTest(name, value=value), self.assertRaises(InvalidSetting) as refused:
                gate(**{name: value})
            self.assertEqual(refused.exception.code, name)

    def test_secrets_are_not_printed(self):
        options = Options(provider="clerk", signature_secret=SECRET, gateway_secret=DELIVERY)
        for printed in (repr(options), repr(options.verifier()), repr(options.verifier()._keys)):
            self.assertNotIn(SECRET[6:], printed)
            self.assertNotIn(DELIVERY, printed)


class Marks(unittest.TestCase):
    def test_the_first_mark_counts(self):
        track = Track()
        track.ignored("not ours")
        track.failed("late", retry=True)
        verdict = track.verdict(200, True)
        self.assertEqual((verdict.outcome, verdict.reason), ("ignored", "not ours"))

    def test_a_drop_says_which_step_was_skipped(self):
        track = Track(["profile", "mail"])
        track.step("profile")
        verdict = track.verdict(200, False)
        self.assertEqual(verdict.outcome, "silent_drop")
        self.assertEqual(verdict.reason, "steps not done: mail")
        self.assertIsNone(track.verdict(500, True))


class Memory(unittest.TestCase):
    def setUp(self):
        self.now = 0.0
        self.store = MemoryStore(most=3, most_bytes=2_000, clock=lambda: self.now)

    def test_an_ended_lease_is_taken_over_and_the_slow_one_changes_nothing_more(self):
        slow = self.store.claim("k", 1_000, 60)
        self.now = 2.0
        fast = self.store.claim("k", 1_000, 60)
        self.assertEqual(fast.state, "new")
        self.store.complete(slow.token, Recorded(500, None, b"slow"))
        self.store.release(slow.token)
        self.assertFalse(self.store.renew(slow.token, 1_000))
        self.store.complete(fast.token, Recorded(200, None, b"fast"))
        self.assertEqual(self.store.claim("k", 1_000, 60).recorded.body, b"fast")
        self.now = 100.0
        self.assertEqual(self.store.claim("k", 1_000, 60).state, "new")

    def test_its_size_is_bounded_and_work_under_way_is_never_forgotten(self):
        for key in "abc":
            self.store.complete(self.store.claim(key, 1_000, 60).token, Recorded(200, None, b"x"))
        working = [self.store.claim(key, 1_000, 60) for key in "def"]
        self.assertEqual(len(self.store), 3)
        with self.assertRaises(StoreFull):
            self.store.claim("g", 1_000, 60)
        self.store.release(working[0].token)
        self.store.complete(
            self.store.claim("g", 1_000, 60).token, Recorded(200, None, b"x" * 5_000)
        )
        self.assertEqual(len(self.store), 2, "bytes have a bound too")


if __name__ == "__main__":
    unittest.main()
