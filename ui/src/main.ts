import { mount } from 'svelte';
import App from './App.svelte';
import { router } from './state/router.svelte';
import { theme } from './state/theme.svelte';
import { view } from './state/view.svelte';
import './styles/tokens.css';
import './styles/base.css';

// The browser looks for the icon again where the address has changed, from which its path is told.
for (const icon of document.querySelectorAll<HTMLLinkElement>('link[rel="icon"]'))
  icon.href = String(icon.href);

theme.start();
router.start();
view.start();

const target = document.getElementById('app');
if (!target) throw new Error('BUG: index.html has no #app');
mount(App, { target });
