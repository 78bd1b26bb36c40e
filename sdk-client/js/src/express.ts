/** A wrap for one Express route (4 and 5). It reads the raw body itself: put no parser before it. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { Gate, MAX_BODY, TOO_LARGE, type Answer, type Options } from "./handle.js";
import type { Pairs } from "./headers.js";
import type { Track } from "./track.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";

type Next = (error?: unknown) => void;

/** On the request, as `request.webhook`. */
export interface ExpressWebhook {
  readonly track: Track;
  /** The raw bytes, as received and verified. */
  readonly raw: Uint8Array;
  readonly verified: boolean;
}

type WebhookRequest = IncomingMessage & { body?: unknown; webhook?: ExpressWebhook };

/** A middleware for the route: `app.post("/hooks", webhook({…}), handler)`. */
export function webhook(options: Options) {
  const gate = new Gate(options);
  const most = options.maxBodyBytes ?? MAX_BODY;
  return (request: IncomingMessage, response: ServerResponse, next: Next): void => {
    run(gate, most, request as WebhookRequest, response, next).catch(next);
  };
}

async function run(gate: Gate, most: number, request: WebhookRequest, response: ServerResponse, next: Next) {
  const raw = await rawBody(request, most);
  if (raw === undefined) {
    response.setHeader("connection", "close");
    return answerWith(response, TOO_LARGE);
  }
  const admission = await gate.admit(pairs(request.rawHeaders), raw);
  if ("answer" in admission) {
    return answerWith(response, admission.answer);
  }
  const { work } = admission;
  request.webhook = { track: work.track, raw, verified: work.verified };
  request.body = parsed(request.headers["content-type"], raw);
  whenAnswered(response, work.finish, work.crashed);
  next();
}

function answerWith(response: ServerResponse, { status, headers, body }: Answer): void {
  response.statusCode = status;
  for (const [name, value] of headers) {
    response.setHeader(name, value);
  }
  response.end(body);
}

/** The body's bytes; `undefined` past the bound. A body that somebody read before is named, not guessed. */
async function rawBody(request: WebhookRequest, most: number): Promise<Uint8Array | undefined> {
  if (Buffer.isBuffer(request.body)) {
    return request.body.length > most ? undefined : request.body;
  }
  if (request.readableEnded || (request.body !== undefined && request.complete)) {
    throw new TypeError(
      "already_parsed: a body parser ran before this handler; mount it behind, or use express.raw({ type: \"*/*\" })",
    );
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > most) {
      return undefined;
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function pairs(raw: readonly string[]): Pairs {
  const all: Array<[string, string]> = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    all.push([raw[at] ?? "", raw[at + 1] ?? ""]);
  }
  return all;
}

function parsed(type: string | undefined, raw: Uint8Array): unknown {
  if (!type?.toLowerCase().includes("json")) {
    return raw;
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    return raw;
  }
}

type Finish = (answered: { status: number; contentType?: string; body: Uint8Array }) =>
  Promise<ReadonlyArray<readonly [string, string]>>;

/** Holds the answer's end back until the verdict is in its headers. */
function whenAnswered(response: ServerResponse, finish: Finish, crashed: () => Promise<void>): void {
  const chunks: Buffer[] = [];
  const keep = (chunk: unknown, encoding: unknown) => {
    if (chunk === undefined || chunk === null || typeof chunk === "function") {
      return;
    }
    chunks.push(typeof chunk === "string"
      ? Buffer.from(chunk, typeof encoding === "string" ? encoding as BufferEncoding : "utf8")
      : Buffer.from(chunk as Uint8Array));
  };
  const end = response.end.bind(response);
  let ended = false;
  response.write = ((chunk: unknown, encoding?: unknown, done?: unknown) => {
    keep(chunk, encoding);
    const call = typeof encoding === "function" ? encoding : done;
    if (typeof call === "function") {
      queueMicrotask(call as () => void);
    }
    return true;
  }) as ServerResponse["write"];
  response.end = ((chunk?: unknown, encoding?: unknown, done?: unknown) => {
    if (ended) {
      return response;
    }
    ended = true;
    keep(chunk, encoding);
    const call = [chunk, encoding, done].find((one) => typeof one === "function") as (() => void) | undefined;
    const body = Buffer.concat(chunks);
    const type = response.getHeader("content-type");
    const answered = {
      status: response.statusCode,
      body,
      ...(typeof type === "string" ? { contentType: type } : {}),
    };
    const judged = response.statusCode >= 500 ? crashed().then(() => finish(answered)) : finish(answered);
    judged.catch(() => []).then((added) => {
      for (const [name, value] of response.headersSent ? [] : added) {
        response.setHeader(name, value);
      }
      end(body, call);
    });
    return response;
  }) as ServerResponse["end"];
  // The caller is gone before an answer: the work is not known to be done.
  response.on("close", () => {
    if (!ended) {
      void crashed();
    }
  });
}
