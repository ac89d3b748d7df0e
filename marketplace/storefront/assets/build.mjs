// Builds the style sheet, the scripts and the licences of what they contain into ../static/build/.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "static", "build");
const shipped = ["htmx.org", "uplot", "daisyui", "tailwindcss"];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await bundleScripts();
buildStyles();
writeLicences();

async function bundleScripts() {
  await build({
    entryPoints: [join(here, "src", "app.js"), join(here, "src", "charts.js")],
    outdir: out,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
  });
}

function buildStyles() {
  const tailwind = join(here, "node_modules", "@tailwindcss", "cli", "dist", "index.mjs");
  const result = spawnSync(
    process.execPath,
    [tailwind, "--input", join(here, "src", "app.css"), "--output", join(out, "app.css"), "--minify"],
    { cwd: here, stdio: "inherit" },
  );
  if (result.status !== 0) process.exit(result.status ?? 1);
}

function writeLicences() {
  const texts = shipped.map((name) => {
    const folder = join(here, "node_modules", name);
    const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, "LICENSE"), "utf8").trim()}\n`;
  });
  writeFileSync(join(out, "licences.txt"), texts.join(`\n${"-".repeat(72)}\n\n`));
}
