import asyncio
import time

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from shared import mark, options, ran, trusting

from hookplane import MemoryStore
from hookplane.django import webhook

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="of a test",
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)
django.setup()


def health(request):
    return JsonResponse({"ok": True})


@webhook(**options(MemoryStore()))
def hooks(request, webhook):
    kind = ran(webhook)
    assert request.webhook is webhook and request.body == webhook.body
    if kind == "slow":
        time.sleep(2)
        kind = "done"
    mark(webhook, kind)
    return JsonResponse({"kind": kind}, status=201)


@webhook(**options(MemoryStore()))
async def hooks_async(request, webhook):
    kind = ran(webhook)
    if kind == "slow":
        await asyncio.sleep(2)
        kind = "done"
    mark(webhook, kind)
    return JsonResponse({"kind": kind}, status=201)


@webhook(**trusting())
def trusts(request, webhook):
    return HttpResponse(webhook.body)


@csrf_exempt
def parsed(request):
    request.read()
    return trusts(request)


urlpatterns = [
    path("health", health),
    path("hooks", hooks),
    path("async", hooks_async),
    path("trusting", trusts),
    path("parsed", parsed),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
