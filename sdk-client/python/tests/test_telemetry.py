"""Reports: what is sent of a delivery, when, and what becomes of it while the agent is away."""

import asyncio
import json
import os
import threading
import time
import unittest

from hookplane import InvalidSetting
from hookplane.gate import Work
from hookplane.telemetry import init
from test_gate import gate, request

KEY = "hph_test"
BEHIND = [("hookplane-event-id", "evt_1"), ("hookplane-attempt", "2")]


class Agent:
    """What an agent answers, and what it was told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.lock = threading.Lock()

    def __call__(self, url, headers, body):
        with self.lock:
            reports = json.loads(body)["reports"]
            self.calls.append((url, headers, reports))
            answer = self.answers.pop(0) if self.answers else (202, lambda _: [])
        if isinstance(answer, Exception):
            raise answer
        status, refused = answer
        return status, json.dumps({"refused": refused(reports)}).encode()

    @property
    def reports(self):
        with self.lock:
            return [report for _, _, reports in self.calls for report in reports]


def until(what, holds):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError(f"never: {what}")


def run(mark, count=1, more=BEHIND, **options):
    made = gate(**options)
    for at in range(count):
        work = made.admit(*request(f"msg_{at}", b'{"type":"user.created","s":"s3cret"}', more))
        assert isinstance(work, Work), work
        with work:
            mark(work.webhook.track)
            work.finish(200, "text/plain", b"ok")


def fine(track):
    track.completed()


def broken(track):
    track.failed("no such user", retry=True)


class TelemetryTest(unittest.TestCase):
    def begin(self, agent, **more):
        settings = {"flush_interval": 0.005, **more}
        telemetry = init(KEY, "http://agent:8088/", send=agent, **settings)
        self.addCleanup(telemetry.close, 0.05)
        return telemetry

    def test_a_report_says_what_came_of_a_delivery_and_nothing_of_its_body(self):
        agent = Agent()
        telemetry = self.begin(agent, release="1.2.3", environment="test")

        def mark(track):
            track.step("profile")
            broken(track)

        run(mark, steps=["profile", "mail"], source="src_1", endpoint_name="users")
        telemetry.flush()
        until("it is counted", lambda: telemetry.counts.sent == 1)
        url, headers, [report] = agent.calls[0]
        self.assertEqual(url, "http://agent:8088/handlers/v1/reports")
        self.assertEqual(headers["authorization"], f"Bearer {KEY}")
        for name in ("id", "at", "latency_ms", "size"):
            self.assertTrue(report.pop(name), name)
        wanted = {
            "source": "src_1",
            "event_id": "evt_1",
            "attempt": 2,
            "outcome": "failed",
            "reason": "no such user",
            "retry": True,
            "steps": {"profile": "done", "mail": "missing"},
            "endpoint": "users",
            "message_id": "msg_0",
            "event_type": "user.created",
            "status": 200,
            "sample_rate": 1,
            "sdk": "hookplane-python/0.1.0",
            "release": "1.2.3",
            "environment": "test",
        }
        self.assertEqual(report, wanted)
        self.assertNotIn("s3cret", json.dumps(agent.calls))

    def test_a_handler_that_raises_is_reported_as_crashed_also_under_asyncio(self):
        agent = Agent()
        telemetry = self.begin(agent)

        async def crash():
            work = await gate(asynchronous=True).admit_async(*request(more=BEHIND))
            with self.assertRaises(KeyError):
                async with work:
                    raise KeyError("user")

        asyncio.run(crash())
        with self.assertRaises(ValueError), gate().admit(*request("msg_2", more=BEHIND)):
            raise ValueError("no")
        telemetry.flush()
        until("both are sent", lambda: telemetry.counts.sent == 2)
        found = sorted((report["outcome"], report["reason"]) for report in agent.reports)
        self.assertEqual(found, [("crashed", "KeyError: 'user'"), ("crashed", "ValueError: no")])

    def test_a_handler_neither_waits_for_an_agent_that_hangs_nor_sees_it_fail(self):
        let_go = threading.Event()
        self.addCleanup(let_go.set)

        def hangs(*_):
            let_go.wait(30)
            raise OSError("away")

        telemetry = self.begin(hangs, flush_interval=0)
        run(fine, 50)
        self.assertEqual(telemetry.counts.sent, 0)

    def test_what_could_not_be_sent_is_sent_later_in_batches_and_once(self):
        first = lambda code: lambda reports: [{"id": reports[0]["id"], "code": code}]  # noqa: E731
        none = lambda _: []  # noqa: E731
        agent = Agent(
            OSError("away"),
            (503, none),
            (429, none),
            (202, first("EVENT_UNDER_WAY")),
            (202, first("EVENT_UNKNOWN")),
        )
        telemetry = self.begin(agent)
        run(broken, 150)
        until("all are judged", lambda: telemetry.counts.sent + telemetry.counts.refused == 150)
        counts = telemetry.counts
        self.assertEqual((counts.refused, counts.dropped, counts.waiting), (1, 0, 0))
        self.assertTrue(all(len(reports) <= 100 for _, _, reports in agent.calls))

    def test_what_comes_after_a_pause_is_sent_without_a_flush(self):
        agent = Agent()
        telemetry = self.begin(agent, flush_interval=0)
        for count in range(1, 6):
            run(fine)
            until(f"report {count} is sent", lambda: telemetry.counts.sent == count)  # noqa: B023
        self.assertEqual(len(agent.calls), 5)

    def test_what_the_agent_refuses_for_good_is_not_sent_again(self):
        agent = Agent((401, lambda _: []))
        telemetry = self.begin(agent, flush_interval=5)
        run(fine, 2)
        telemetry.flush()
        until("it was judged", lambda: telemetry.counts.refused == 2)
        self.assertEqual((len(agent.calls), telemetry.counts.waiting), (1, 0))

    def test_without_room_successes_go_first_and_what_is_dropped_is_counted(self):
        telemetry = self.begin(Agent(), max_queue=4, flush_interval=60)
        run(fine, 5)
        run(broken, 3)
        self.assertEqual((telemetry.counts.waiting, telemetry.counts.dropped), (4, 4))
        run(fine)
        run(broken, 2)
        self.assertEqual((telemetry.counts.waiting, telemetry.counts.dropped), (4, 7))

    def test_sampling_and_the_hook_leave_out_what_they_are_told_to_and_never_a_failure(self):
        agent = Agent()

        def before_send(report):
            if report["reason"] == "raise":
                raise RuntimeError("hook")
            return {**report, "reason": "[redacted]"}

        telemetry = self.begin(agent, sample_rate=0, before_send=before_send)
        run(fine, 4)
        run(broken, 2)
        run(lambda track: track.failed("raise"))
        telemetry.flush()
        until("the failures are sent", lambda: telemetry.counts.sent == 2)
        self.assertEqual(telemetry.counts.left, 5)
        self.assertEqual({report["reason"] for report in agent.reports}, {"[redacted]"})

    def test_a_call_without_a_gateway_is_counted_and_not_sent(self):
        agent = Agent()
        telemetry = self.begin(agent)
        run(fine, more=[])
        telemetry.flush()
        self.assertEqual((telemetry.counts.direct, agent.calls), (1, []))

    @unittest.skipUnless(hasattr(os, "fork"), "it forks")
    def test_a_forked_worker_sends_its_own_reports_and_none_of_its_parents(self):
        read, write = os.pipe()

        def send(url, headers, body):
            os.write(write, f"{os.getpid()} {len(json.loads(body)['reports'])}\n".encode())
            return 202, b"{}"

        telemetry = self.begin(send, flush_interval=60)
        run(fine, 3)
        child = os.fork()
        if child == 0:
            run(fine, 2)
            telemetry.flush(10)
            os._exit(0)
        os.waitpid(child, 0)
        telemetry.flush(10)
        os.close(write)
        with os.fdopen(read) as lines:
            told = dict(line.split() for line in lines)
        self.assertEqual(told, {str(child): "2", str(os.getpid()): "3"})

    def test_a_process_that_ends_sends_what_waits(self):
        import subprocess
        import sys

        script = """
import test_telemetry as t
agent = t.Agent()
t.init(t.KEY, "http://agent", flush_interval=60, send=lambda *call: (print("sent"), agent(*call))[1])
t.run(t.fine)
"""
        command = [sys.executable, "-c", script]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual((ended.stdout, ended.returncode), ("sent\n", 0), ended.stderr)

    def test_what_can_never_work_is_refused_at_the_start(self):
        for given in (
            {"endpoint": "http://agent"},
            {"api_key": "hpk_x", "endpoint": "http://agent"},
            {"api_key": KEY},
            {"api_key": KEY, "endpoint": "agent:8088"},
            {"api_key": KEY, "endpoint": "http://agent/path"},
            {"api_key": KEY, "endpoint": "http://agent", "sample_rate": 2},
            {"api_key": KEY, "endpoint": "http://agent", "max_queue": 0},
        ):
            with self.assertRaises(InvalidSetting, msg=str(given)):
                init(**given)


if __name__ == "__main__":
    unittest.main()
