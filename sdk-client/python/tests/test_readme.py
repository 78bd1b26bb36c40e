"""The quick starts of the README, as they stand."""

import asyncio
import json
import os
import re
import unittest
from pathlib import Path

from servers import SECRET, signed

README = Path(__file__).parents[1] / "README.md"
BODY = b'{"type":"user.created","data":{"id":"user_1"}}'
BEHIND = [("hookplane-event-id", "evt_1")]


def blocks(heading):
    section = README.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.S)


def run(block):
    made = []

    async def make(data):
        made.append(data)

    names = {"create_profile": make, "send_mail": make, "__name__": "quick_start"}
    os.environ["CLERK_WEBHOOK_SECRET"] = SECRET
    exec(compile(block, "README.md", "exec"), names)
    return names, made


async def ask(app, headers):
    sent = []

    async def receive():
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message):
        sent.append(message)

    encoded = [(name.encode(), value.encode()) for name, value in headers]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/hooks/clerk",
        "raw_path": b"/hooks/clerk",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": encoded,
        "http_version": "1.1",
        "server": ("127.0.0.1", 1),
        "client": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], {n.decode(): v.decode() for n, v in sent[0]["headers"]}, body


class QuickStarts(unittest.TestCase):
    def test_fastapi(self):
        whole, dependency = blocks("FastAPI and Starlette")
        for block, runs in ((whole, 2), (dependency, 0)):
            names, made = run(block)
            headers = [*signed("msg_1", BODY), *BEHIND]
            status, told, body = asyncio.run(ask(names["app"], headers))
            self.assertEqual((status, json.loads(body)), (200, {"ok": True}))
            self.assertEqual(told["hookplane-outcome"], "completed")
            self.assertEqual(len(made), runs)
            self.assertEqual(asyncio.run(ask(names["app"], []))[0], 401)

    def test_flask(self):
        [block] = blocks("Flask")
        names, _ = run(block)
        headers = [*signed("msg_1", BODY), *BEHIND]
        client = names["app"].test_client()
        answered = client.post("/hooks/clerk", data=BODY, headers=headers)
        self.assertEqual((answered.status_code, answered.get_json()), (200, {"ok": True}))
        self.assertEqual(answered.headers["hookplane-outcome"], "completed")
        self.assertEqual(client.post("/hooks/clerk", data=BODY).status_code, 401)

    def test_django(self):
        from django.conf import settings
        from django.test import RequestFactory

        if not settings.configured:
            settings.configure()
        [block] = blocks("Django")
        names, _ = run(block)
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in [*signed("msg_1", BODY), *BEHIND]
        }
        factory = RequestFactory()
        send = {"data": BODY, "content_type": "application/json"}
        answered = names["clerk"](factory.post("/hooks/clerk", **send, **headers))
        self.assertEqual(json.loads(answered.content), {"ok": True})
        self.assertEqual(answered.headers["hookplane-outcome"], "completed")
        self.assertEqual(names["clerk"](factory.post("/hooks/clerk", **send)).status_code, 401)


if __name__ == "__main__":
    unittest.main()
