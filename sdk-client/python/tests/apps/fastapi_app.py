from __future__ import annotations

import asyncio
import time

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from shared import mark, options, ran, trusting

from hookplane import MemoryStore, Webhook
from hookplane.asgi import WebhookMiddleware
from hookplane.fastapi import Delivery, Dependency, install, webhook

app = FastAPI()
install(app)
guarded = Dependency(**options(MemoryStore()))


@app.get("/health")
def health():
    return {"ok": True}


@app.post("/hooks")
@webhook(**options(MemoryStore()))
async def hooks(request: Request, webhook: Webhook):
    kind = ran(webhook)
    assert await request.body() == webhook.body
    if kind == "slow":
        await asyncio.sleep(2)
        kind = "done"
    mark(webhook, kind)
    return JSONResponse({"kind": kind}, status_code=201)


@app.post("/plain")
@webhook(**options(MemoryStore()))
def plain(webhook: Webhook):
    """In a thread, without a request, and a value that the kit makes the answer of."""
    kind = ran(webhook)
    if kind == "slow":
        time.sleep(2)
        kind = "done"
    mark(webhook, kind)
    return {"kind": kind}


@app.post("/trusting")
@webhook(**trusting())
async def trusts(webhook: Webhook):
    return Response(webhook.body)


@app.post("/dependency")
async def depends(delivery: Delivery = Depends(guarded)):
    kind = ran(delivery)
    mark(delivery, kind)
    return {"kind": kind}


@app.post("/dependency-response")
async def answers(delivery: Delivery = Depends(guarded)):
    mark(delivery, ran(delivery))
    return delivery.answer(Response(b"own"))


@app.post("/parsed")
async def parsed(request: Request):
    async for _ in request.stream():
        pass
    return await inner(request)


@webhook(**trusting())
async def inner(request: Request):
    return Response(b"never")


inside = FastAPI()


@inside.post("/mounted/hooks")
async def mounted(request: Request):
    hook = request.state.webhook
    kind = ran(hook)
    assert await request.body() == hook.body
    if kind == "slow":
        await asyncio.sleep(2)
        kind = "done"
    mark(hook, kind)
    return JSONResponse({"kind": kind}, status_code=201)


@inside.get("/mounted/health")
async def inside_health():
    return {"ok": True}


app.mount("/", WebhookMiddleware(inside, "/mounted/hooks", **options(MemoryStore())))
