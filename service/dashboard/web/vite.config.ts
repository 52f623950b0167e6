import { defineConfig } from "vite";

// Built beside the sources' parent, where the service serves it from; `npm run dev` borrows a running service's API.
export default defineConfig({
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the security policy refuses data: addresses
    chunkSizeWarningLimit: 1600, // Swagger UI and ECharts, each loaded only by the page that shows it
    rolldownOptions: { input: ["index.html", "docs.html"] },
  },
  server: { proxy: { "/api": "http://127.0.0.1:8420" } },
});
