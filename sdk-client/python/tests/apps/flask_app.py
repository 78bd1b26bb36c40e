import time

from flask import Flask, g, jsonify, request
from shared import mark, options, ran, store, trusting

from hookplane.flask import webhook

app = Flask(__name__)


@app.get("/health")
def health():
    return {"ok": True}


@app.post("/hooks")
@webhook(**options(store()))
def hooks(webhook):
    kind = ran(webhook)
    assert g.webhook is webhook
    assert request.get_data() == webhook.body
    if kind == "slow":
        time.sleep(2)
        kind = "done"
    mark(webhook, kind)
    return jsonify(kind=kind), 201


@app.post("/trusting")
@webhook(**trusting())
def trusts(webhook):
    return webhook.body


@app.post("/marked")
@webhook(**{**options(store()), **trusting()})
def marked(webhook):
    mark(webhook, ran(webhook))
    return "ok"


@app.post("/parsed")
def parsed():
    request.stream.read()
    return inner()


@webhook(**trusting())
def inner():
    return "never"
