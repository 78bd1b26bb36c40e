/** A middleware for one Hono route: `app.post("/hooks", webhook({…}), (c) => { c.get("webhook").track … })`. */
import { Gate, type Options } from "./handle.js";
import { admit, finished } from "./web.js";
import type { Webhook } from "./webhook.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";
export type { Webhook } from "./webhook.js";

/** As much of Hono's context as is needed. */
interface Context {
  readonly req: { raw: Request };
  res: Response;
  error: Error | undefined;
  set(name: "webhook", value: Webhook): void;
}

/** For `new Hono<{ Variables: WebhookVariables }>()`. */
export interface WebhookVariables {
  webhook: Webhook;
}

export function webhook(options: Options) {
  const gate = new Gate(options);
  // Any context of Hono's; its own type depends on the application.
  return async (c: any, next: () => Promise<void>): Promise<Response | void> => {
    const context = c as Context;
    const admitted = await admit(gate, context.req.raw, c);
    if (admitted instanceof Response) {
      return admitted;
    }
    const { work } = admitted;
    context.req.raw = admitted.copy;
    context.set("webhook", admitted.webhook);
    try {
      await next();
    } catch (error) {
      await work.crashed(error);
      throw error;
    }
    if (context.error !== undefined) {
      await work.crashed(context.error);
    }
    const answer = context.res;
    const shown = await finished(work, answer);
    if (shown !== answer) {
      context.res = shown;
    }
  };
}
