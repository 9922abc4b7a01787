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
  { path: '/hosts', title: 'Machines', short: 'Machines', icon: 'host', group: 'Workloads', key: 'n' },
  {
    path: '/containers',
    title: 'Containers',
    short: 'Containers',
    icon: 'box',
    group: 'Workloads',
    key: 'c',
  },
  { path: '/clusters', title: 'Clusters', short: 'Clusters', icon: 'tree', group: 'Workloads', key: 'k' },
  { path: '/capacity', title: 'Capacity', short: 'Capacity', icon: 'capacity', key: 'y' },
  { path: '/status', title: 'Status', short: 'Status', icon: 'status', key: 's' },
];

/** Pages of one thing each. */
const namedTitles: Partial<Record<PagePath, string>> = {
  '/hosts/*': 'Machine',
  '/containers/*': 'Container',
};

/** Pages behind Status, as tabs in this order. */
export const statusTabs: { path: PagePath; title: string }[] = [
  { path: '/status', title: 'Parts' },
  { path: '/status/targets', title: 'Targets' },
  { path: '/status/discovery', title: 'Service discovery' },
  { path: '/status/storage', title: 'Metric store' },
  { path: '/status/configuration', title: 'Configuration' },
];

/** The page in the left bar to which a page belongs. */
export function inBar(path: PagePath | null): PageInfo | undefined {
  return (
    pageList.find((page) => page.path === path) ??
    pageList.find((page) => page.path !== '/' && path?.startsWith(`${page.path}/`))
  );
}

/** The title of any page. */
export function titleOf(path: PagePath | null): string | undefined {
  const page = inBar(path);
  if (page?.path === path) return page?.title;
  return (path && namedTitles[path]) ?? statusTabs.find((tab) => tab.path === path)?.title;
}
