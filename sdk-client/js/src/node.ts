/** Requests and answers of node:http, as Express and Next.js pages have them: raw bytes in, a held answer out. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { type Answer, type Gate, MAX_RECORDED, TOO_LARGE, type Work } from "./handle.js";
import { pairs } from "./headers.js";
import { parsed, pathOf, type Webhook, webhookOf } from "./webhook.js";

export type NodeRequest = IncomingMessage & {
  body?: unknown;
  rawBody?: unknown;
  originalUrl?: string;
  webhook?: Webhook;
};

/** A handler that may run, its answer held; `undefined` when the request was answered here. */
export interface Running {
  readonly work: Work;
  /** Once its answer has left. */
  readonly answered: Promise<void>;
}

/** Reads, verifies and claims; sets `body` and `webhook`. Throws for a body that a parser took. */
export async function begin(gate: Gate, request: NodeRequest, response: ServerResponse, hint: string): Promise<Running | undefined> {
  if (isTaken(request)) {
    throw gate.alreadyParsed(hint);
  }
  const raw = await rawBody(request, gate.settled.most);
  if (raw === undefined) {
    response.setHeader("connection", "close");
    answerWith(response, TOO_LARGE);
    return undefined;
  }
  if (raw.length === 0 && Number(request.headers["content-length"] ?? 0) > 0) {
    throw gate.alreadyParsed(hint);
  }
  const path = pathOf(request.originalUrl ?? request.url);
  const admission = await gate.admit({ request, path, headers: pairs(request.rawHeaders), body: raw });
  if ("answer" in admission) {
    answerWith(response, admission.answer);
    return undefined;
  }
  const { work } = admission;
  request.webhook = webhookOf(work, raw);
  request.body = parsed(request.headers["content-type"], raw);
  return { work, answered: hold(response, work) };
}

/** The handler threw: whoever answers now says so with what this sets. */
export async function failed({ work }: Running, response: ServerResponse, error: unknown): Promise<void> {
  set(response, await work.crashed(error));
}

function isTaken(request: NodeRequest): boolean {
  const kept = [request.rawBody, request.body].some((body) => body instanceof Uint8Array);
  return !kept && !isEmpty(request) && (request.readableDidRead || request.readableEnded || (request.body !== undefined && request.complete));
}

/** Nothing that a parser could take, though one may have read the end of it. */
function isEmpty({ headers }: NodeRequest): boolean {
  return headers["content-length"] === "0" && headers["transfer-encoding"] === undefined;
}

/** The body's bytes; `undefined` past the bound. */
async function rawBody(request: NodeRequest, most: number): Promise<Uint8Array | undefined> {
  const kept = [request.rawBody, request.body].find((body) => body instanceof Uint8Array) as Uint8Array | undefined;
  if (kept !== undefined) {
    return kept.length > most ? undefined : kept;
  }
  if (isEmpty(request)) {
    return new Uint8Array();
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > most) {
        // The rest is read and thrown away, so that the sender gets to see the refusal.
        chunks.length = 0;
        resolve(undefined);
      } else {
        chunks.push(chunk);
      }
    });
    request.on("end", () => resolve(Buffer.concat(chunks)));
    request.on("error", reject);
    request.on("close", () => reject(new Error("the sender went away before its body was whole")));
  });
}

function answerWith(response: ServerResponse, { status, headers, body }: Answer): void {
  response.statusCode = status;
  set(response, headers);
  response.end(body);
}

function set(response: ServerResponse, headers: Answer["headers"]): void {
  for (const [name, value] of response.headersSent ? [] : headers) {
    response.setHeader(name, value);
  }
}

type Chunk = string | Uint8Array;
type Callback = (error?: Error | null) => void;

/**
 * Holds the answer back until the verdict is in its head: what sends the head early (`writeHead`, `flushHeaders`,
 * `write`) is kept until the end. Past `MAX_RECORDED` it streams, with the mark that was made until then.
 */
function hold(response: ServerResponse, work: Work): Promise<void> {
  const { write, end, writeHead, flushHeaders } = response;
  const chunks: Buffer[] = [];
  let [size, held, ended] = [0, true, false];
  let left = () => {};
  const answered = new Promise<void>((resolve) => { left = resolve; });
  const letGo = (added: Answer["headers"]) => {
    held = false;
    // Node itself calls these for a head that nobody wrote.
    Object.assign(response, { writeHead, flushHeaders });
    set(response, added);
  };
  const keep = (chunk: Chunk, encoding: unknown) => {
    // Of bytes an encoding is ignored.
    const bytes = Buffer.from(chunk as string, typeof encoding === "string" ? encoding as BufferEncoding : "utf8");
    size += bytes.length;
    chunks.push(bytes);
  };

  response.flushHeaders = () => {};
  response.writeHead = ((status: number, ...rest: unknown[]) => {
    response.statusCode = status;
    if (typeof rest[0] === "string") {
      response.statusMessage = rest.shift() as string;
    }
    for (const [name, value] of listed(rest[0])) {
      response.setHeader(name, value);
    }
    return response;
  }) as ServerResponse["writeHead"];
  response.write = ((chunk: Chunk, encoding?: unknown, done?: Callback) => {
    const call = typeof encoding === "function" ? encoding as Callback : done;
    if (!held || ended) {
      return Reflect.apply(write, response, [chunk, encoding, done]);
    }
    keep(chunk, encoding);
    if (size <= MAX_RECORDED) {
      if (call !== undefined) {
        queueMicrotask(call);
      }
      return true;
    }
    letGo(work.early(response.statusCode));
    const whole = Buffer.concat(chunks.splice(0));
    return Reflect.apply(write, response, [whole, call]);
  }) as ServerResponse["write"];
  response.end = ((...rest: unknown[]) => {
    if (ended) {
      return response;
    }
    ended = true;
    const call = rest.find((one) => typeof one === "function");
    const [chunk, encoding] = rest as [Chunk | undefined, unknown];
    const last = chunk !== undefined && chunk !== null && typeof chunk !== "function";
    if (last && held) {
      keep(chunk, encoding);
    }
    const [streamed, body] = [!held, Buffer.concat(chunks)];
    const type = response.getHeader("content-type");
    const finished = work.finish({
      status: response.statusCode,
      contentType: typeof type === "string" ? type : undefined,
      body: streamed ? undefined : body,
    });
    finished.catch(() => []).then((added) => {
      letGo(added);
      Reflect.apply(end, response, streamed ? rest : body.length > 0 ? [body, call] : [call]);
    }).finally(left);
    return response;
  }) as ServerResponse["end"];
  return answered;
}

/** The three forms in which `writeHead` takes headers. */
function listed(headers: unknown): Array<[string, string | string[]]> {
  if (!Array.isArray(headers)) {
    return Object.entries((headers ?? {}) as Record<string, string | string[]>);
  }
  if (Array.isArray(headers[0])) {
    return headers as Array<[string, string]>;
  }
  return pairs(headers);
}
