import { withPagesWebhook } from "@hookplane/handler/nextjs";

import { act, options } from "../../work.js";

export const config = { api: { bodyParser: false } };

export default withPagesWebhook(options(), async (request, response) => {
  const { status, body } = await act(request.webhook.track, request.webhook.raw);
  response.status(status).json(body);
});
