// The mistake: the parser of Next.js is left on.
import { withPagesWebhook } from "@hookplane/handler/nextjs";

import { options } from "../../work.js";

export default withPagesWebhook(options(), (_, response) => response.json({ ran: true }));
