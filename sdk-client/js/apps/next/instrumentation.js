import { init } from "@hookplane/handler/telemetry";

export function register() {
  init({ flushIntervalMs: 10 });
}
