// The pages that exist, in the order of the left bar. What is not built yet does not stand here.

import type { IconName } from '../parts/Icon.svelte';
import type { PagePath } from '../state/url';

export interface PageInfo {
  path: PagePath;
  title: string;
  /** In the bar at the bottom of a narrow screen. */
  short: string;
  icon: IconName;
  group?: string;
  /** Second key after `g`. */
  key: string;
}

export const pageList: PageInfo[] = [
  { path: '/', title: 'Home', short: 'Home', icon: 'home', key: 'h' },
  { path: '/alerts', title: 'Alerts', short: 'Alerts', icon: 'alerts', key: 'a' },
  {
    path: '/explore/metrics',
    title: 'Metrics',
    short: 'Metrics',
    icon: 'metrics',
    group: 'Explore',
    key: 'm',
  },
  { path: '/explore/events', title: 'Events', short: 'Events', icon: 'events', group: 'Explore', key: 'e' },
  { path: '/status', title: 'Status', short: 'Status', icon: 'status', key: 's' },
];
