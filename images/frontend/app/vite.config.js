// How Vite builds the page, and serves it while it is worked on.
//
// The development server may stand behind a proxy on another port, such as svmanager: its answers then go out under the
// proxy's name, and the browser must open the websocket of hot reloading there as well.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const env = process.env;
const port = Number(env.HTTP_PORT || 8080);

// GET /health, as the image for production has it.
const health = {
  name: "health",
  configureServer(server) {
    server.middlewares.use("/health", (request, answer) => {
      answer.setHeader("Content-Type", "text/plain");
      answer.setHeader("Cache-Control", "no-store");
      answer.end("OK\n");
    });
  },
};

export default defineConfig({
  plugins: [react(), health],
  cacheDir: env.VITE_CACHE || "node_modules/.vite",
  server: {
    host: "0.0.0.0",
    port,
    strictPort: true,
    // Names that a browser may ask for; "localhost" and addresses always may. Never `true`: see Vite's security notes.
    allowedHosts: (env.ALLOWED_HOSTS || "").split(",").filter(Boolean),
    hmr: env.HMR_CLIENT_PORT ? { clientPort: Number(env.HMR_CLIENT_PORT) } : true,
    // Changes on a bind mount from another operating system are not announced: VITE_POLL=1 looks for them instead.
    watch: { usePolling: env.VITE_POLL === "1" },
    proxy: { "/api": { target: `http://${env.BACKEND || "backend:8000"}`, changeOrigin: false, xfwd: true } },
  },
});
