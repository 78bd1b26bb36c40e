"""Behind a real gateway: what a handler says of its work decides what becomes of the event.

HOOKPLANE names the `hookplane` binary; `make sdk-py` builds it.
"""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path
from urllib.parse import urlsplit

from servers import DELIVERY, SECRET, Server, gunicorn, signed, until

BINARY = os.environ.get("HOOKPLANE")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def call(method, url, headers, body=None):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Gateway:
    def __init__(self, folder):
        api, ingest, admin = (f"127.0.0.1:{free_port()}" for _ in range(3))
        self.base, self.ingest = f"http://{api}", f"http://{ingest}"
        listen = ["--api", api, "--ingest", ingest, "--admin", admin]
        self.process = subprocess.Popen(
            [BINARY, "dev", "--quiet", "--data-dir", folder, *listen],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until("the gateway is ready", lambda: call("GET", f"{self.base}/readyz", [])[0] == 200)
        self.key = (Path(folder) / "admin.key").read_text().strip()

    def ask(self, method, path, body=None):
        headers = [("authorization", f"Bearer {self.key}"), ("content-type", "application/json")]
        sent = None if body is None else json.dumps(body)
        status, told = call(method, self.base + path, headers, sent)
        if not 200 <= status <= 299:
            raise AssertionError(f"{method} {path}: {status} {told}")
        return json.loads(told)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


@unittest.skipUnless(BINARY, "HOOKPLANE names no binary")
class BehindTheGateway(unittest.TestCase):
    def test_marks_of_a_handler_end_repeat_or_fail_its_events(self):
        receiver = Server(*gunicorn("flask_app:app", workers=2))
        self.addCleanup(receiver.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        gateway = Gateway(folder.name)
        self.addCleanup(gateway.stop)
        auth = {"provider": "CLERK", "webhook_signing_secret": SECRET}
        source = gateway.ask(
            "POST",
            "/v1/sources",
            {
                "name": "Clerk",
                "type": "CLERK",
                "config": {"auth_type": "PROVIDER_SIGNATURE", "auth": auth},
            },
        )
        destination = gateway.ask(
            "POST",
            "/v1/destinations",
            {
                "name": "profiles",
                "type": "HTTP",
                "config": {
                    "url": f"http://127.0.0.1:{receiver.port}/marked",
                    "path_forwarding_disabled": True,
                    "reports_outcome": True,
                    "auth_type": "HOOKPLANE_SIGNATURE",
                    "auth": {"secret": DELIVERY},
                },
            },
        )
        gateway.ask(
            "POST",
            "/v1/connections",
            {
                "name": "all",
                "source_id": source["id"],
                "destination_id": destination["id"],
                "rules": [{"type": "retry", "strategy": "linear", "count": 2, "interval": 1000}],
            },
        )
        until("all is applied", lambda: gateway.ask("GET", "/v1/configuration/wait")["applied"])
        for kind in ("done", "ignored", "failed", "nothing"):
            body = json.dumps({"type": kind}).encode()
            url = f"{gateway.ingest}/{source['id']}"
            status, told = call("POST", url, signed(f"msg_{kind}", body), body)
            self.assertEqual(status, 200, told)

        def events(outcome):
            query = f"/v1/events?handler_outcome={outcome}"
            return lambda: [
                event
                for event in gateway.ask("GET", query)["models"]
                if event["status"] in ("SUCCESSFUL", "FAILED")
            ]

        [done] = until("one is done", events("COMPLETED"))
        self.assertEqual((done["status"], done["attempts"]), ("SUCCESSFUL", 1))
        [ignored] = until("one is ignored", events("IGNORED"))
        self.assertEqual(ignored["handler_reason"], "not ours: é")
        [failed] = until("one has failed", events("FAILED"))
        self.assertGreater(failed["attempts"], 1, "it asked for another try")
        self.assertEqual(failed["handler_reason"], "database is away")
        [dropped] = until("one is dropped", events("SILENT_DROP"))
        self.assertEqual(dropped["status"], "FAILED")
        self.assertEqual(dropped["handler_reason"], "steps not done: profile")


if __name__ == "__main__":
    unittest.main()
