// The package as people get it: packed, installed elsewhere, imported and required.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

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
      for (const name of ["", "/web", "/express"]) {
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

test("it stays small: the root within 8 KB as it stands, each adapter within 3 KB more", () => {
  const packed = (...names) => gzipSync(Buffer.concat(names.map((name) => readFileSync(join(here, `dist/esm/${name}.js`))))).length;
  const root = packed("index", "handle", "signature", "dedupe", "track", "headers");
  assert.ok(root <= 8 * 1024, `the root has ${root} bytes`);
  for (const adapter of ["web", "express"]) {
    const size = packed(adapter);
    assert.ok(size <= 3 * 1024, `${adapter} has ${size} bytes`);
  }
});
