import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The server that answers /api while developing: a running Vedette, or the mock.
const server = process.env['VEDETTE_URL'] ?? 'http://127.0.0.1:9090';
const proxied = ['/api', '/-/', '/metrics'];

/** Puts a compressed form beside each file, for the server to hand to those who take it. */
function compressed(): Plugin {
  return {
    name: 'vedette-compressed',
    apply: 'build',
    writeBundle({ dir }, bundle) {
      for (const name of Object.keys(bundle)) {
        const file = join(dir ?? 'dist', name);
        const plain = readFileSync(file);
        const gzip = gzipSync(plain, { level: 9 });
        if (gzip.length < plain.length * 0.9) {
          writeFileSync(`${file}.gz`, gzip);
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), compressed()],
  // The server may stand behind a proxy under any path; it tells each page how far up the files are.
  base: './',
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
