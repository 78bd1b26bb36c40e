"""Real servers of each framework, on ports of their own, ended by their process id."""

import base64
import hashlib
import hmac
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

APPS = Path(__file__).parent / "apps"
sys.path.insert(0, str(APPS))
from shared import DELIVERY, SECRET  # noqa: E402


class Answered:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body!r}"


class Server:
    def __init__(self, *command, environment=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        self.runs_file = Path(self.folder.name) / "runs"
        self.log = open(Path(self.folder.name) / "log", "w+b")
        bound = [part.format(port=self.port) for part in command]
        paths = os.pathsep.join(filter(None, [str(APPS), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", *bound],
            env={
                **os.environ,
                "PYTHONPATH": paths,
                "RUNS": str(self.runs_file),
                **(environment or {}),
            },
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        try:
            until("the server answers", lambda: self.send("GET", "/health", [], b"").status == 200)
        except BaseException as error:
            told = self.told()
            self.stop()
            raise AssertionError(f"the server did not start:\n{told}") from error

    def send(self, method, path, headers, body, chunked=False):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path)
            for name, value in headers:
                connection.putheader(name, value)
            if chunked:
                connection.putheader("transfer-encoding", "chunked")
                pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
                connection.endheaders(iter(pieces), encode_chunked=True)
            else:
                connection.putheader("content-length", str(len(body)))
                connection.endheaders(body)
            return Answered(connection.getresponse())
        finally:
            connection.close()

    def post(self, path, message, body, *, more=(), chunked=False, at=None, secret=SECRET):
        headers = [*signed(message, body, at, secret), *more]
        return self.send("POST", path, headers, body, chunked)

    def deliver(self, path, body, more=()):
        at = str(int(time.time()))
        tag = hmac.new(DELIVERY.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = [("hookplane-timestamp", at), ("hookplane-signature", f"v1={tag}"), *more]
        return self.send("POST", path, headers, body)

    def runs(self, message):
        if not self.runs_file.exists():
            return []
        lines = [line.split() for line in self.runs_file.read_text().splitlines()]
        return [line for line in lines if line[0] == message]

    def told(self):
        self.log.flush()
        return Path(self.log.name).read_text("utf-8", "replace")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.log.close()
        self.folder.cleanup()


def signed(message, body, at=None, secret=SECRET):
    at = str(int(time.time()) if at is None else at)
    key = base64.b64decode(secret[6:])
    tag = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return [
        ("content-type", "application/json"),
        ("svix-id", message),
        ("svix-timestamp", at),
        ("svix-signature", "v1," + base64.b64encode(tag).decode()),
    ]


def until(what, ask, seconds=30):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            found = ask()
            if found:
                return found
        except OSError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"never: {what}: {last}")


def uvicorn(app):
    return ["uvicorn", app, "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"]


def gunicorn(app, workers=1):
    from gunicorn.config import KNOWN_SETTINGS

    threads = ["--threads", "4"] if workers == 1 else []
    bound = ["-b", "127.0.0.1:{port}", "-w", str(workers), *threads, "--preload"]
    # Newer releases would share a socket by a fixed name.
    control = "--no-control-socket"
    known = any(control in (setting.cli or ()) for setting in KNOWN_SETTINGS)
    return ["gunicorn", app, *bound, *([control] if known else [])]
