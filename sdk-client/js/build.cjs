// What the compiler leaves to do: say that dist/cjs is CommonJS, with the types of dist/esm.
const { copyFileSync, readdirSync, writeFileSync } = require("node:fs");

for (const file of readdirSync("dist/esm").filter((name) => name.endsWith(".d.ts"))) {
  copyFileSync(`dist/esm/${file}`, `dist/cjs/${file}`);
}
writeFileSync("dist/cjs/package.json", '{"type":"commonjs"}\n');
