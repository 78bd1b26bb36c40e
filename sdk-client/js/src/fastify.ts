/** Options for one Fastify route: `fastify.post("/hooks", webhook({…}), handler)`. Other routes are left alone. */
import { Readable } from "node:stream";

import { type Answer, type Answered, Gate, MAX_RECORDED, type Options, TOO_LARGE, type Work } from "./handle.js";
import { pairs } from "./headers.js";
import { concat, parsed, pathOf, type Webhook, webhookOf } from "./webhook.js";

export type { Options } from "./handle.js";
export type { Track } from "./track.js";
export type { Webhook } from "./webhook.js";

/** As much of Fastify's as is needed. */
interface FastifyRequest {
  readonly raw: { readonly rawHeaders: readonly string[]; readonly url?: string | undefined };
  readonly headers: Readonly<Record<string, unknown>>;
  webhook?: Webhook;
}
interface FastifyReply {
  statusCode: number;
  code(status: number): FastifyReply;
  header(name: string, value: string): FastifyReply;
  getHeader(name: string): unknown;
  send(body?: unknown): FastifyReply;
}

const WORK = Symbol("hookplane work");
type Carrier = { [WORK]?: Work };

/** Hooks of a route, all that the wrap needs. The handler finds its marks in `request.webhook.track`. */
export function webhook(options: Options) {
  const gate = new Gate(options);

  /** Verified before it is parsed, so that a parser's refusal says nothing to who is not believed. */
  async function preParsing(request: any, reply: any, payload: any): Promise<any> {
    const [asked, answer] = [request as FastifyRequest & Carrier, reply as FastifyReply];
    const raw = await read(payload, gate.settled.most);
    if (raw === undefined) {
      answer.header("connection", "close");
      return answerWith(answer, TOO_LARGE);
    }
    if (raw.length === 0 && Number(asked.headers["content-length"] ?? 0) > 0) {
      throw gate.alreadyParsed("no hook may read the payload before this wrap");
    }
    const { rawHeaders, url } = asked.raw;
    const admission = await gate.admit({ request, path: pathOf(url), headers: pairs(rawHeaders), body: raw });
    if ("answer" in admission) {
      return answerWith(answer, admission.answer);
    }
    asked[WORK] = admission.work;
    asked.webhook = webhookOf(admission.work, raw);
    const again = Readable.from(raw.length > 0 ? [Buffer.from(raw.buffer, raw.byteOffset, raw.length)] : [], { objectMode: false });
    return Object.assign(again, { receivedEncodedLength: raw.length });
  }

  /** A refusal of Fastify's, as of a content type that it does not know, is no crash. */
  async function onError(request: any, _reply: any, error: any): Promise<void> {
    if (!(error?.statusCode < 500)) {
      await (request as Carrier)[WORK]?.crashed(error);
    }
  }

  async function onSend(request: any, reply: any, payload: unknown): Promise<unknown> {
    const work = (request as Carrier)[WORK];
    const answer = reply as FastifyReply;
    if (work !== undefined) {
      const type = answer.getHeader("content-type");
      const added = await work.finish({
        status: answer.statusCode,
        contentType: typeof type === "string" ? type : undefined,
        ...kept(payload),
      });
      added.forEach(([name, value]) => answer.header(name, value));
    }
    return payload;
  }

  /** A handler that took the answer over (`reply.hijack`) has none of the other hooks. */
  async function onResponse(request: any, reply: any): Promise<void> {
    await (request as Carrier)[WORK]?.finish({ status: (reply as { raw: { statusCode: number } }).raw.statusCode });
  }

  return { preParsing, onError, onSend, onResponse, bodyLimit: Math.max(gate.settled.most, 1) };
}

/**
 * A plugin with routes of its own, where bodies of every content type come through: JSON parsed, others as bytes.
 * `fastify.register(webhooks({…}, (scope) => scope.post("/hooks", handler)))`
 */
export function webhooks(options: Options, routes: (scope: any) => unknown) {
  const hooks = webhook(options);
  return async (scope: any): Promise<void> => {
    const { bodyLimit } = hooks;
    const parse = async (request: FastifyRequest, body: Buffer) => parsed(request.headers["content-type"], body);
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit }, parse);
    scope.addHook("preParsing", hooks.preParsing);
    scope.addHook("onError", hooks.onError);
    scope.addHook("onSend", hooks.onSend);
    scope.addHook("onResponse", hooks.onResponse);
    await routes(scope);
  };
}

function answerWith(reply: FastifyReply, { status, headers, body }: Answer): FastifyReply {
  headers.forEach(([name, value]) => reply.header(name, value));
  return reply.code(status).send(body.length > 0 ? Buffer.from(body) : undefined);
}

/** Streams are passed on unseen. */
function kept(payload: unknown): Pick<Answered, "body"> {
  if (payload === undefined || payload === null) {
    return { body: new Uint8Array() };
  }
  const bytes = typeof payload === "string" && payload.length <= MAX_RECORDED ? new TextEncoder().encode(payload) : payload;
  return bytes instanceof Uint8Array ? { body: bytes } : {};
}

/** The payload's bytes; `undefined` past the bound, where the rest is read and thrown away. */
function read(payload: Readable, most: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    payload.on("data", (chunk: Uint8Array) => {
      size += chunk.length;
      if (size > most) {
        chunks.length = 0;
        resolve(undefined);
      } else {
        chunks.push(chunk);
      }
    });
    payload.on("end", () => resolve(concat(chunks, size)));
    payload.on("error", reject);
    payload.on("close", () => reject(new Error("the sender went away before its body was whole")));
  });
}
