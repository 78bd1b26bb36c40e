/** Next.js: route handlers of the App Router, and API routes of the Pages Router. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { Gate, type Options } from "./handle.js";
import { begin, failed, type NodeRequest } from "./node.js";
import type { Webhook } from "./webhook.js";

export { withWebhook, withWebhook as withWebhookMonitoring } from "./web.js";
export type { Options } from "./handle.js";
export type { Track } from "./track.js";
export type { Webhook } from "./webhook.js";

/** What a page of the Pages Router has to export, so that Next.js leaves the body alone. */
export const config = { api: { bodyParser: false } };

/** For a page in `pages/api`, beside `export { config } from "@hookplane/handler/nextjs"`. */
export function withPagesWebhook<Request extends IncomingMessage = any, Response extends ServerResponse = any>(
  options: Options,
  handler: (request: Request & { webhook: Webhook }, response: Response) => unknown,
): (request: Request, response: Response) => Promise<void> {
  const gate = new Gate(options);
  const hint = "export `const config = { api: { bodyParser: false } }` from the page";
  return async (request, response) => {
    const running = await begin(gate, request as NodeRequest, response, hint);
    if (running === undefined) {
      return;
    }
    try {
      await handler(request as Request & { webhook: Webhook }, response);
    } catch (error) {
      await failed(running, response, error);
      throw error;
    }
    // A function that froze between the handler's end and the answer's would lose the verdict.
    const gone = new Promise<void>((resolve) => response.once("close", resolve));
    await Promise.race([running.answered, gone]);
  };
}
