"""What the handlers of every framework do, by the message's type; runs are told to a file, so
that they are counted over all processes."""

import os
import sqlite3

from hookplane import MemoryStore
from hookplane.sql import SqlStore

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELIVERY = "a-secret-of-deliveries-1"


def store():
    """Of one process, or with SHARED of all that a server forks."""
    if not os.environ.get("SHARED"):
        return MemoryStore()
    file = os.environ["RUNS"] + ".claims"
    made = SqlStore(lambda: sqlite3.connect(file, timeout=30))
    made.create_table()
    return made


def options(store):
    return {
        "provider": "clerk",
        "signature_secret": ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", SECRET],
        "require_processing_mark": True,
        "steps": ["profile"],
        "store": store,
        "max_body_bytes": 4096,
        "lease": 20,
    }


def trusting():
    return {"provider": "hookplane", "signature_secret": DELIVERY}


def ran(webhook):
    """Tells of a run, and gives what to do."""
    line = f"{webhook.message_id} {webhook.event_type} {len(webhook.body)} {os.getpid()}\n"
    file = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
    return webhook.event_type


def mark(webhook, kind):
    track = webhook.track
    if kind == "done":
        track.step("profile")
        track.completed()
    elif kind == "ignored":
        track.ignored("not ours: é")
    elif kind == "failed":
        track.failed("database is away", retry=True)
    elif kind == "deferred":
        track.deferred(deadline=60)
    elif kind == "crash":
        raise RuntimeError("the handler's own")
