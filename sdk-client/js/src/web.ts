/** Handlers of plain web requests: Next.js App Router, Hono, Deno, Bun, workers. */
import { Gate, MAX_BODY, TOO_LARGE, type Answer, type Options } from "./handle.js";
import type { Track } from "./track.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";

/** What a wrapped handler gets beside its request. */
export interface Webhook {
  readonly track: Track;
  /** The raw bytes, as received and verified. */
  readonly body: Uint8Array;
  readonly verified: boolean;
}

/** Wraps one handler of one route; nothing else of the application is touched. */
export function withWebhook(
  options: Options,
  handler: (request: Request, webhook: Webhook) => Response | Promise<Response>,
): (request: Request) => Promise<Response> {
  const gate = new Gate(options);
  const most = options.maxBodyBytes ?? MAX_BODY;
  return async (request) => {
    if (request.bodyUsed) {
      throw new TypeError("already_parsed: the body was read before; the raw bytes are needed to verify it");
    }
    const body = await rawBody(request, most);
    if (body === undefined) {
      return answerWith(TOO_LARGE);
    }
    const admission = await gate.admit([...request.headers], body);
    if ("answer" in admission) {
      return answerWith(admission.answer);
    }
    const { work } = admission;
    const { track, verified } = work;
    const copy = new Request(request.url, {
      method: request.method,
      headers: request.headers,
      ...(body.length > 0 ? { body: body as BodyInit } : {}),
    });
    let response: Response;
    try {
      response = await handler(copy, { track, body, verified });
    } catch (error) {
      await work.crashed();
      throw error;
    }
    const answered = new Uint8Array(await response.clone().arrayBuffer());
    const contentType = response.headers.get("content-type");
    const added = await work.finish({
      status: response.status,
      body: answered,
      ...(contentType === null ? {} : { contentType }),
    });
    const headers = new Headers(response.headers);
    for (const [name, value] of added) {
      headers.set(name, value);
    }
    const bare = answered.length === 0 || response.status === 204 || response.status === 304;
    return new Response(bare ? null : answered, { status: response.status, headers });
  };
}

function answerWith({ status, headers, body }: Answer): Response {
  const list = headers.map(([name, value]) => [name, value] as [string, string]);
  return new Response(body as BodyInit, { status, headers: list });
}

/** The body's bytes; `undefined` past the bound. */
async function rawBody(request: Request, most: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    size += value.length;
    if (size > most) {
      await reader.cancel();
      return undefined;
    }
    chunks.push(value);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
