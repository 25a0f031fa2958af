// Builds the page: a folder for any static host, build/web/, and in it one file that needs none, glasses.html.
//   node web/build.mjs [--out DIR] [--notebooks URL]
// notebooks: where the notebooks are published; the page then links them.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const settings = JSON.parse(await readFile(here("settings.json")));
const { values: options } = parseArgs({
  options: { out: { type: "string", default: here("../build/web") }, notebooks: { type: "string", default: "" } },
});
const { out } = options;

const files = { "runtime.wasm": here("node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm") };
for (const name of Object.keys(settings.networks)) files[`${name}.onnx`] = here(`../glasses/weights/${name}.onnx`);
const packed = {};
for (const [name, path] of Object.entries(files)) packed[name] = gzipSync(await readFile(path), { level: 9 });

const sizes = Object.fromEntries(Object.entries(packed).map(([name, bytes]) => [name, bytes.length]));
const bundled = await build({
  absWorkingDir: here("."),
  entryPoints: ["src/page.js", "style.css"],
  bundle: true,
  minify: true,
  write: false,
  outdir: out,
  format: "esm",
  target: "es2022",
  legalComments: "eof",
  logLevel: "warning",
  plugins: [
    {
      name: "sizes",
      setup(of) {
        of.onResolve({ filter: /^virtual:sizes$/ }, ({ path }) => ({ path, namespace: "sizes" }));
        of.onLoad({ filter: /.*/, namespace: "sizes" }, () => ({ contents: JSON.stringify(sizes), loader: "json" }));
      },
    },
  ],
});
const script = bundled.outputFiles.find((file) => file.path.endsWith(".js")).text;
const style = bundled.outputFiles.find((file) => file.path.endsWith(".css")).text;

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const policy = (scripts, styles, connect) =>
  `default-src 'none'; script-src ${scripts} 'wasm-unsafe-eval'; style-src ${styles}; connect-src ${connect}; ` +
  "img-src blob: data:; media-src blob:; base-uri 'none'; form-action 'none'";
const link = (name) =>
  options.notebooks ? `<a href="${options.notebooks.replace(/\/$/, "")}/${name}">${name}</a>` : `<code>${name}</code>`;
const template = (await readFile(here("index.html"), "utf8")).replace(/\{\{(\d_\w+\.ipynb)\}\}/g, (_, name) =>
  link(name),
);
// With functions, since in a plain replacement `$&` and the like have a meaning, and code may hold them.
const page = (content) => template.replace(/\{\{(policy|style|script|files)\}\}/g, (_, name) => content[name]);

const folder = page({
  policy: policy("'self'", "'self'", "'self'"),
  style: '<link rel="stylesheet" href="page.css">',
  script: '<script type="module" src="page.js"></script>',
  files: "",
});
const embedded = Object.entries(packed).map(
  ([name, bytes]) => `<script type="application/gzip" id="file-${name}">${bytes.toString("base64")}</script>`,
);
const single = page({
  policy: policy(hash(script), hash(style), "'none'"),
  style: `<style>${style}</style>`,
  script: `<script type="module">${script}</script>`,
  files: embedded.join("\n"),
});

await mkdir(out, { recursive: true });
const written = { "index.html": folder, "page.js": script, "page.css": style, "glasses.html": single };
for (const [name, bytes] of Object.entries(packed)) written[`${name}.gz`] = bytes;
for (const [name, content] of Object.entries(written)) await writeFile(`${out}/${name}`, content);
