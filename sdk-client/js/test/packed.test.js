// The package as people get it: packed, installed elsewhere, imported and required.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = new URL("..", import.meta.url).pathname;

test("it installs from its archive, without dependencies, for import and require", () => {
  const folder = mkdtempSync(join(tmpdir(), "handler-"));
  try {
    const run = (file, ...args) => execFileSync(file, args, { cwd: folder, encoding: "utf8" });
    const packed = execFileSync("npm", ["pack", "--pack-destination", folder, "--silent"], { cwd: here, encoding: "utf8" });
    writeFileSync(join(folder, "package.json"), '{"type":"module"}');
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "--silent", `./${packed.trim()}`);
    const use = `
      import { createRequire } from "node:module";
      const require = createRequire(import.meta.url);
      for (const name of ["", "/telemetry", "/redis", "/web", "/nextjs", "/express", "/fastify", "/hono"]) {
        const [one, two] = [await import("@hookplane/handler" + name), require("@hookplane/handler" + name)];
        if (Object.keys(one).sort().join() !== Object.keys(two).filter((key) => key !== "__esModule").sort().join()) throw new Error(name);
      }
      console.log("fine");`;
    writeFileSync(join(folder, "use.js"), use);
    assert.equal(run("node", "use.js").trim(), "fine");
    const listed = run("npm", "ls", "--all", "--parseable").trim().split("\n");
    assert.equal(listed.length, 2, `it brought something along: ${listed}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("bundled it stays small: the root within 5 KB, each adapter within 3 KB more", async () => {
  const bundled = async (contents) => {
    const stdin = { contents, resolveDir: join(here, "dist/esm") };
    const made = await build({ stdin, bundle: true, minify: true, write: false, format: "esm", external: ["node:*"] });
    return gzipSync(made.outputFiles[0].contents).length;
  };
  const root = await bundled('export * from "./index.js"');
  assert.ok(root <= 5 * 1024, `the root has ${root} bytes`);
  const telemetry = await bundled('export * from "./telemetry.js"');
  assert.ok(telemetry <= 4 * 1024, `telemetry has ${telemetry} bytes`);
  const redis = await bundled('export * from "./redis.js"');
  assert.ok(redis <= 2 * 1024, `redis has ${redis} bytes`);
  // What one wrap brings along, as a bundler leaves out the others.
  for (const [adapter, wrap] of [
    ["web", "withWebhook"], ["nextjs", "withWebhook"], ["nextjs", "withPagesWebhook"], ["express", "webhook"],
    ["fastify", "webhook"], ["hono", "webhook"],
  ]) {
    const size = await bundled(`export { ${wrap} } from "./${adapter}.js"`);
    assert.ok(size <= 8 * 1024, `${wrap} of ${adapter} has ${size} bytes with all that it needs`);
  }
});
