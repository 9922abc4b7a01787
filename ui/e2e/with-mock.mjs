// Runs the walk against the mock, with the app as built in dist/.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startMock } from '../mock/server.mjs';

const { server, url } = await startMock({ dist: true });
const walk = spawn(process.execPath, [fileURLToPath(new URL('./walk.mjs', import.meta.url)), url], {
  stdio: 'inherit',
  env: { CONTAINERS: '1', ATTACK: '1', ...process.env },
});
walk.on('exit', (code) => {
  server.close();
  server.closeAllConnections();
  process.exitCode = code ?? 1;
});
