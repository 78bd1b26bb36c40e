/** Handlers of plain web requests: Next.js App Router, Deno, Bun, workers. */
import { type Answer, Gate, MAX_RECORDED, type Options, TOO_LARGE, type Work } from "./handle.js";
import { concat, pathOf, type Webhook, webhookOf } from "./webhook.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";
export type { Webhook } from "./webhook.js";

/** Milliseconds that an answer's body may take until it counts as one that cannot be kept. */
const LONGEST_BODY = 5_000;

/** Wraps one handler of one route; nothing else of the application is touched. */
export function withWebhook<Context = unknown>(
  options: Options,
  handler: (request: Request, webhook: Webhook & Context) => Response | Promise<Response>,
): (request: Request, context?: Context) => Promise<Response> {
  const gate = new Gate(options);
  return async (request, context) => {
    const admitted = await admit(gate, request, request);
    if (admitted instanceof Response) {
      return admitted;
    }
    const { work, webhook, copy } = admitted;
    let response: Response;
    try {
      response = await handler(copy, { ...context, ...webhook } as Webhook & Context);
    } catch (error) {
      await work.crashed(error);
      throw error;
    }
    return finished(work, response);
  };
}

export interface Admitted {
  readonly work: Work;
  readonly webhook: Webhook;
  /** The request once more, its body unread. */
  readonly copy: Request;
}

/** Reads, verifies and claims; or gives the answer. */
export async function admit(gate: Gate, request: Request, framework: unknown): Promise<Admitted | Response> {
  const hint = "nothing may read it before this wrap";
  if (request.bodyUsed) {
    throw gate.alreadyParsed(hint);
  }
  const raw = await read(request.body, gate.settled.most);
  if (raw === undefined) {
    return answerWith(TOO_LARGE);
  }
  if (raw.length === 0 && Number(request.headers.get("content-length") ?? 0) > 0) {
    throw gate.alreadyParsed(hint);
  }
  const headers = [...request.headers];
  const admission = await gate.admit({ request: framework, path: pathOf(request.url), headers, body: raw });
  if ("answer" in admission) {
    return answerWith(admission.answer);
  }
  const { work } = admission;
  const { method, signal } = request;
  const body = raw.length > 0 ? { body: raw as BodyInit } : {};
  return { work, webhook: webhookOf(work, raw), copy: new Request(request.url, { method, headers: request.headers, signal, ...body }) };
}

/** The handler's answer with the verdict. Its body is looked at only for repeats, and only so much as is kept. */
export async function finished(work: Work, response: Response): Promise<Response> {
  const body = work.records && response.body !== null ? await seen(response) : undefined;
  const empty = response.body === null ? new Uint8Array() : undefined;
  const added = await work.finish({
    status: response.status,
    contentType: response.headers.get("content-type") ?? undefined,
    body: body ?? empty,
  });
  if (added.length === 0) {
    return response;
  }
  try {
    added.forEach(([name, value]) => response.headers.set(name, value));
    return response;
  } catch {
    // Of another's making, as what `fetch` gives: its headers cannot be changed.
    const headers = new Headers(response.headers);
    added.forEach(([name, value]) => headers.set(name, value));
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  }
}

/** `undefined` for what is too large, too slow or broken. */
async function seen(response: Response): Promise<Uint8Array | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const stream = response.clone().body;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), LONGEST_BODY);
    });
    return await Promise.race([read(stream, MAX_RECORDED, late), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

function answerWith({ status, headers, body }: Answer): Response {
  const bodiless = body.length === 0 || [204, 205, 304].includes(status);
  return new Response(bodiless ? null : body as BodyInit, { status, headers: headers.map(([name, value]) => [name, value]) });
}

/** A stream's bytes; `undefined` past the bound, or once it was late. */
async function read(stream: ReadableStream<Uint8Array> | null, most: number, late?: Promise<unknown>): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = stream?.getReader();
  void late?.then(() => reader?.cancel()).catch(() => {});
  while (reader !== undefined) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    size += value.length;
    if (size > most) {
      // Not waited for: half of a clone ends only with the other half.
      reader.cancel().catch(() => {});
      return undefined;
    }
    chunks.push(value);
  }
  return concat(chunks, size);
}
