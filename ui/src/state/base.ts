// Under which path the server is seen, as `/vedette` where a proxy puts it there; empty at the root. The
// server tells how many steps up from a page's address that is.

function seen(): string {
  // Unit tests have no document.
  if (typeof document === 'undefined') return '';
  const steps = document.querySelector('meta[name="vedette-base"]')?.getAttribute('content');
  return steps ? baseOf(steps, window.location.href) : '';
}

export function baseOf(steps: string, url: string): string {
  return new URL(steps, url).pathname.replace(/\/+$/, '');
}

/** A path without the base, or as it is where it does not lie below. */
export function below(base: string, path: string): string {
  if (!base || !path.startsWith(base)) return path;
  const rest = path.slice(base.length);
  return rest === '' ? '/' : rest.startsWith('/') ? rest : path;
}

export const base = seen();
