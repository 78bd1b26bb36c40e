import { withWebhook } from "@hookplane/handler/nextjs";

import { act, options } from "../../work.js";

export const runtime = "edge";

export const POST = withWebhook(options(), async (request, { track, raw }) => {
  const { status, body } = await act(track, raw);
  return Response.json(body, { status });
});
