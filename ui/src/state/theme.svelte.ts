// Dark, light, or what the system says. Kept in this browser; it is no part of a shared link.

export type Theme = 'system' | 'light' | 'dark';
const key = 'vedette.theme';
const order: Theme[] = ['system', 'light', 'dark'];

function stored(): Theme {
  try {
    const value = localStorage.getItem(key);
    return value === 'light' || value === 'dark' ? value : 'system';
  } catch {
    return 'system';
  }
}

class ThemeState {
  choice = $state<Theme>('system');
  /** Grows when colours change: charts, which paint on canvas, look at it. */
  version = $state(0);

  start(): void {
    this.choice = stored();
    this.#apply();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (this.version += 1));
  }

  set(theme: Theme): void {
    this.choice = theme;
    try {
      localStorage.setItem(key, theme);
    } catch {
      // Private windows may refuse to keep it; the choice holds until the page is closed.
    }
    this.#apply();
  }

  next(): void {
    this.set(order[(order.indexOf(this.choice) + 1) % order.length] ?? 'system');
  }

  #apply(): void {
    if (this.choice === 'system') document.documentElement.removeAttribute('data-theme');
    else document.documentElement.setAttribute('data-theme', this.choice);
    this.version += 1;
  }
}

export const theme = new ThemeState();
