// What the handlers do: the message says it.
import { MemoryStore } from "@hookplane/handler";

export const options = () => ({
  provider: "clerk",
  signatureSecret: process.env.CLERK_WEBHOOK_SECRET,
  requireProcessingMark: true,
  steps: ["profile"],
  store: new MemoryStore(),
});

let runs = 0;

export async function act(track, raw) {
  runs += 1;
  const { type, until } = message(raw);
  switch (type) {
    case "completed":
      track.step("profile");
      track.completed();
      break;
    case "held":
      await fetch(until, { cache: "no-store" });
      track.step("profile");
      track.completed();
      break;
    case "failed":
      track.failed("no plan: é", { retry: true });
      break;
    case "thrown":
      throw new Error("broken on purpose");
    default:
  }
  return { status: 201, body: { run: runs, size: raw.length } };
}

/** Bodies need not be JSON. */
function message(raw) {
  try {
    return JSON.parse(new TextDecoder().decode(raw));
  } catch {
    return {};
  }
}
