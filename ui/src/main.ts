import { mount } from 'svelte';
import App from './App.svelte';
import { router } from './state/router.svelte';
import { theme } from './state/theme.svelte';
import { view } from './state/view.svelte';
import './styles/tokens.css';
import './styles/base.css';

theme.start();
router.start();
view.start();

const target = document.getElementById('app');
if (!target) throw new Error('BUG: index.html has no #app');
mount(App, { target });
