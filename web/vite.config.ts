// Builds the dashboard into the folder that the node serves at `/`.
// In development (`npm run dev`) the node's interface is reached through a proxy, so the page keeps one origin.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    outDir: "../seawall/api/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
});
