import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The server that answers /api while developing: a running Vedette, or the mock.
const server = process.env['VEDETTE_URL'] ?? 'http://127.0.0.1:9090';
const proxied = ['/api', '/-/', '/metrics'];

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    // Strict content security policy: no inline script, and no data: URLs for assets.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
  server: {
    host: '127.0.0.1',
    proxy: Object.fromEntries(proxied.map((path) => [path, { target: server }])),
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
