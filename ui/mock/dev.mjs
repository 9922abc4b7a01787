// `npm run dev:mock`: Vite's development server in front of the mock.
import { createServer } from 'vite';
import { startMock } from './server.mjs';

const { url } = await startMock();
process.env.VEDETTE_URL = url;
const vite = await createServer();
await vite.listen();
vite.printUrls();
