// One handler behind each adapter, through the real framework on a real socket.
import { once } from "node:events";
import { createServer } from "node:http";

import express4 from "express4";
import express5 from "express5";
import Fastify from "fastify";
import { Hono } from "hono";
import { createAdaptorServer } from "@hono/node-server";
import { webhook as expressWebhook } from "@hookplane/handler/express";
import { webhook as fastifyWebhook, webhooks as fastifyWebhooks } from "@hookplane/handler/fastify";
import { webhook as honoWebhook } from "@hookplane/handler/hono";
import { withPagesWebhook } from "@hookplane/handler/nextjs";
import { withWebhook } from "@hookplane/handler/web";

/** Serves on a free port; gives how to call it and how to end. */
export async function serving(server) {
  if (!server.listening) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
  const base = `http://127.0.0.1:${server.address().port}`;
  return {
    base,
    call: (init) => fetch(`${base}/hooks`, init),
    health: async () => (await fetch(`${base}/health`)).status,
    end: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const quiet = (_error, _request, response, _next) => response.status(500).json({ error: "broken" });

function onExpress(express, mount) {
  return (options, work) => {
    const app = express();
    app.set("env", "test");
    app.get("/health", (_, response) => response.json({ ok: true }));
    mount(app, options, async (request, response) => {
      const answer = await work(request.webhook.track, Buffer.from(request.webhook.raw));
      response.status(answer.status ?? 200);
      answer.text === undefined ? response.json(answer.json) : response.type("text/plain").send(answer.text);
    });
    app.use(quiet);
    return serving(createServer(app));
  };
}

const asMiddleware = (app, options, handler) => app.post("/hooks", expressWebhook(options), (request, response, next) => {
  handler(request, response).catch(next);
});
const asWrap = (app, options, handler) => app.post("/hooks", expressWebhook(options, handler));

function onFastify(mount) {
  return async (options, work) => {
    const app = Fastify({ forceCloseConnections: true });
    app.get("/health", async () => ({ ok: true }));
    mount(app, options, async (request, reply) => {
      const answer = await work(request.webhook.track, Buffer.from(request.webhook.raw));
      reply.code(answer.status ?? 200);
      return answer.text === undefined ? answer.json : answer.text;
    });
    await app.listen({ port: 0, host: "127.0.0.1" });
    return serving(app.server);
  };
}

const asResponse = (answer) => answer.text === undefined
  ? Response.json(answer.json, { status: answer.status ?? 200 })
  : new Response(answer.text, { status: answer.status ?? 200 });

export const adapters = {
  async web(options, work) {
    const handler = withWebhook(options, async (_, { track, raw }) => asResponse(await work(track, Buffer.from(raw))));
    return {
      call: (init) => handler(new Request("http://localhost/hooks", init)),
      health: async () => 200,
      end: async () => {},
    };
  },
  "express 4": onExpress(express4, asMiddleware),
  "express 5": onExpress(express5, asMiddleware),
  "express 5, wrapped": onExpress(express5, asWrap),
  "fastify": onFastify((app, options, handler) => app.post("/hooks", fastifyWebhook(options), handler)),
  "fastify, plugin": onFastify((app, options, handler) => {
    app.register(fastifyWebhooks(options, (scope) => scope.post("/hooks", handler)));
  }),
  hono(options, work) {
    const app = new Hono();
    app.get("/health", (c) => c.json({ ok: true }));
    app.post("/hooks", honoWebhook(options), async (c) => {
      const { track, raw } = c.get("webhook");
      return asResponse(await work(track, Buffer.from(raw)));
    });
    app.onError((_, c) => c.json({ error: "broken" }, 500));
    return serving(createAdaptorServer({ fetch: app.fetch }));
  },
  // A page as Next.js calls it; Next.js itself is tried in nextjs.test.js.
  "next.js page"(options, work) {
    const page = withPagesWebhook(options, async (request, response) => {
      const answer = await work(request.webhook.track, Buffer.from(request.webhook.raw));
      response.statusCode = answer.status ?? 200;
      response.setHeader("content-type", answer.text === undefined ? "application/json" : "text/plain");
      response.end(answer.text ?? JSON.stringify(answer.json));
    });
    return serving(createServer((request, response) => {
      if (request.url === "/health") {
        return response.end();
      }
      page(request, response).catch(() => {
        response.statusCode = 500;
        response.end();
      });
    }));
  },
};
