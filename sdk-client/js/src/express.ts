/** A wrap for one Express route (4 and 5). It reads the raw body itself: put no parser before it. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { Gate, type Options } from "./handle.js";
import { begin, failed, type NodeRequest } from "./node.js";
import type { Webhook } from "./webhook.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";
export type { Webhook } from "./webhook.js";

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** Behind the wrap of a webhook's route. */
      webhook?: Webhook;
    }
  }
}

type Next = (error?: unknown) => void;

const HINT = "mount it in front of parsers, or put express.raw({ type: \"*/*\" }) before it";

/**
 * For the route: `app.post("/hooks", webhook({…}), handler)`, or `webhook({…}, handler)`, which also sees what the
 * handler throws. The handler finds its marks in `request.webhook.track`.
 */
export function webhook<Request extends IncomingMessage = any, Response extends ServerResponse = any>(
  options: Options,
  handler?: (request: Request, response: Response, next: Next) => unknown,
) {
  const gate = new Gate(options);
  return (request: Request, response: Response, next: Next): void => {
    run(request, response, next).catch(next);
  };

  async function run(request: Request, response: Response, next: Next): Promise<void> {
    const running = await begin(gate, request as NodeRequest, response, HINT);
    if (running === undefined) {
      return;
    }
    if (handler === undefined) {
      return next();
    }
    const gone = async (error: unknown) => {
      await failed(running, response, error);
      next(error);
    };
    try {
      await handler(request, response, (error) => void (error === undefined ? next() : gone(error)));
    } catch (error) {
      await gone(error);
    }
  }
}

export { webhook as withWebhookMonitoring };
