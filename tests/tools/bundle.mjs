// Bundle a module for a browser, or for Node, with the npm packages of this folder, and print it.
// Usage: node bundle.mjs MODULES ENTRY PLATFORM [minify], where MODULES holds esbuild and what ENTRY imports from npm.
import { createRequire } from "node:module"
import { pathToFileURL } from "node:url"

const [modules, entry, platform, minify] = process.argv.slice(2)
const { build } = (await import(pathToFileURL(createRequire(`${modules}/`).resolve("esbuild")).href)).default
const { outputFiles } = await build({
  entryPoints: [entry],
  bundle: true,
  write: false,
  format: platform === "node" ? "cjs" : "esm",
  platform,
  nodePaths: [modules],
  minify: minify === "minify",
  define: platform === "node" ? {} : { "process.env.NODE_ENV": '"development"' },
})
process.stdout.write(outputFiles[0].text)
