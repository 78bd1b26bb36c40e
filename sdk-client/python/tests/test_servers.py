"""One list of scenarios, run against a real server of each framework."""

import json
import threading
import unittest

from servers import Server, gunicorn, until, uvicorn

GATEWAY = [("hookplane-event-id", "evt_1"), ("hookplane-attempt", "1")]


def body_of(kind, **more):
    return json.dumps({"type": kind, **more}).encode()


class Scenarios:
    command = []
    paths = ["/hooks"]
    status = 201
    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.command, environment=cls.environment)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.number = 0

    def message(self, path):
        self.number += 1
        return f"msg_{self.id().rsplit('.', 1)[-1]}_{path[1:].replace('/', '_')}_{self.number}"

    def each(self):
        for path in self.paths:
            with self.subTest(path):
                yield path, self.message(path)

    def test_work_is_done_once_and_a_repeat_gets_the_recorded_answer(self):
        for path, message in self.each():
            body = body_of("done")
            first = self.server.post(path, message, body)
            again = self.server.post(path, message, body)
            self.assertEqual(first.status, self.status, first)
            self.assertEqual(json.loads(first.body), {"kind": "done"})
            self.assertEqual((again.status, again.body), (first.status, first.body))
            self.assertEqual(again.headers["content-type"], first.headers["content-type"])
            [run] = self.server.runs(message)
            self.assertEqual(run[1:3], ["done", str(len(body))])
            self.assertNotIn("hookplane-outcome", first.headers, "a provider saw the verdict")

    def test_failed_and_dropped_and_crashed_work_may_be_done_again(self):
        for kind in ("failed", "nothing", "crash"):
            for path, message in self.each():
                for _ in range(2):
                    answered = self.server.post(path, message, body_of(kind))
                    expected = 500 if kind == "crash" else self.status
                    self.assertEqual(answered.status, expected, answered)
                self.assertEqual(len(self.server.runs(message)), 2)

    def test_the_verdict_travels_in_the_answer_to_the_gateway(self):
        for path, message in self.each():

            def ask(kind, path=path, message=message):
                return self.server.post(path, message + kind, body_of(kind), more=GATEWAY).headers

            done = ask("done")
            self.assertEqual(done["hookplane-outcome"], "completed")
            self.assertEqual(done["hookplane-outcome-steps"], "profile=done")
            failed = ask("failed")
            self.assertEqual(failed["hookplane-outcome"], "failed")
            self.assertEqual(failed["hookplane-outcome-retry"], "true")
            self.assertEqual(failed["hookplane-outcome-reason"], "database%20is%20away")
            ignored = ask("ignored")
            self.assertEqual(ignored["hookplane-outcome-reason"], "not%20ours%3A%20%C3%A9")
            dropped = ask("nothing")
            self.assertEqual(dropped["hookplane-outcome"], "silent_drop")
            self.assertEqual(dropped["hookplane-outcome-steps"], "profile=missing")
            self.assertRegex(ask("deferred")["hookplane-deferral"], r"^dfr_\w+; deadline=\d+$")

    def test_a_forged_request_is_refused_without_a_hint_and_its_reason_is_told(self):
        for path, message in self.each():
            forged = self.server.post(
                path, message, body_of("done"), secret="whsec_plJ3nmyCDGBKInavdOK15jsl"
            )
            self.assertEqual(forged.status, 401)
            self.assertNotIn(b"mismatch", forged.body)
            self.assertEqual(self.server.runs(message), [])
            right = self.server.post(path, message, body_of("done"))
            self.assertEqual(right.status, self.status, "a forged request took the message's place")
            stale = self.server.post(path, message, body_of("done"), at=1_600_000_000)
            self.assertEqual(stale.status, 401)
        until("both reasons are told", lambda: "signature_mismatch" in self.server.told())
        until("both reasons are told", lambda: "timestamp_too_old" in self.server.told())

    def test_bytes_are_verified_as_they_came(self):
        for path, _ in self.each():
            for body in [
                b'{ "type" : "done", "n": 12345678901234567890, "f": 1.0, "u": "\\u00e9\\/" }\n',
                b'\xef\xbb\xbf{"type":"done"}',
                b"\xff\xfe\x00binary",
                b"",
            ]:
                answered = self.server.post(path, self.message(path), body)
                self.assertEqual(answered.status, self.status, body)
            message = self.message(path)
            answered = self.server.post(path, message, body_of("done"), chunked=True)
            self.assertEqual(answered.status, self.status, "a chunked body")
            self.assertEqual(self.server.runs(message)[0][1], "done")

    def test_a_body_past_its_bound_is_refused_whether_or_not_its_length_is_told(self):
        for path, message in self.each():
            large = body_of("done", filler="x" * 5000)
            self.assertEqual(self.server.post(path, message, large).status, 413)
            self.assertEqual(self.server.post(path, message, large, chunked=True).status, 413)

    def test_a_concurrent_repeat_is_told_to_wait(self):
        for path, message in self.each():
            answers = []
            first = threading.Thread(
                target=lambda p=path, m=message, a=answers: a.append(
                    self.server.post(p, m, body_of("slow"))
                )
            )
            first.start()
            until("the first one runs", lambda m=message: self.server.runs(m))
            repeat = self.server.post(path, message, body_of("slow"))
            self.assertEqual(repeat.status, 409, repeat)
            self.assertGreaterEqual(int(repeat.headers["retry-after"]), 1)
            # The server answers others meanwhile.
            self.assertEqual(self.server.send("GET", "/health", [], b"").status, 200)
            first.join()
            self.assertEqual(answers[0].status, self.status)
            self.assertEqual(len(self.server.runs(message)), 1)

    def test_the_gateway_is_trusted_by_its_own_signature(self):
        self.assertEqual(self.server.deliver("/trusting", b"raw\xff").body, b"raw\xff")
        unsigned = self.server.send("POST", "/trusting", [], b"raw")
        self.assertEqual(unsigned.status, 401)

    def test_a_body_that_somebody_read_before_is_named(self):
        self.assertEqual(self.server.deliver("/parsed", b"{}").status, 500)
        until("it is named", lambda: "already_parsed" in self.server.told())

    def test_other_routes_are_untouched(self):
        health = self.server.send("GET", "/health", [], b"")
        self.assertEqual((health.status, json.loads(health.body)), (200, {"ok": True}))


class FastApi(Scenarios, unittest.TestCase):
    command = uvicorn("fastapi_app:app")
    paths = ["/hooks", "/mounted/hooks"]

    def test_health_beside_a_path_of_the_middleware_is_untouched(self):
        self.assertEqual(self.server.send("GET", "/mounted/health", [], b"").status, 200)

    def test_an_endpoint_in_a_thread_that_gives_a_value_is_wrapped_whole(self):
        body = body_of("done")
        first = self.server.post("/plain", "msg_plain", body, more=GATEWAY)
        again = self.server.post("/plain", "msg_plain", body, more=GATEWAY)
        self.assertEqual(first.headers["hookplane-outcome"], "completed")
        self.assertEqual((again.status, again.body), (200, first.body))
        self.assertEqual(again.headers["hookplane-duplicate"], "true")
        self.assertEqual(len(self.server.runs("msg_plain")), 1)

    def test_a_dependency_guards_its_endpoint_and_tells_the_verdict(self):
        for path in ("/dependency", "/dependency-response"):
            message = "msg" + path.replace("/", "_")
            for kind, outcome in [
                ("nothing", "silent_drop"),
                ("failed", "failed"),
                ("done", "completed"),
            ]:
                answered = self.server.post(path, message, body_of(kind), more=GATEWAY)
                self.assertEqual(answered.status, 200, answered)
                self.assertEqual(answered.headers["hookplane-outcome"], outcome)
            self.assertNotIn("hookplane-outcome-retry", answered.headers)
            again = self.server.post(path, message, body_of("done"), more=GATEWAY)
            self.assertEqual((again.status, again.headers["hookplane-duplicate"]), (200, "true"))
            self.assertEqual(len(self.server.runs(message)), 3)
            forged = self.server.send("POST", path, [], b"{}")
            self.assertEqual(forged.status, 401)
            self.assertEqual(json.loads(forged.body)["code"], "SIGNATURE_INVALID")


class Flask(Scenarios, unittest.TestCase):
    command = gunicorn("flask_app:app")


class FlaskInForkedWorkers(Scenarios, unittest.TestCase):
    command = gunicorn("flask_app:app", workers=3)
    environment = {"SHARED": "1"}

    def test_a_message_is_known_to_every_worker(self):
        served = set()

        def both_served():
            message = self.message("/hooks")
            for _ in range(4):
                self.assertEqual(self.server.post("/hooks", message, body_of("done")).status, 201)
            [run] = self.server.runs(message)
            served.add(run[3])
            return len(served) > 1

        until("two workers have run something", both_served)


class DjangoWsgi(Scenarios, unittest.TestCase):
    command = gunicorn("django_app:wsgi")


class DjangoAsgi(Scenarios, unittest.TestCase):
    command = uvicorn("django_app:asgi")
    paths = ["/hooks", "/async"]


if __name__ == "__main__":
    unittest.main()
