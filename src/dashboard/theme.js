// Light or dark: as the system is, until somebody chooses. Event on `theme`: `change`.

const CHOSEN = 'tidegate-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

class Theme extends EventTarget {
  constructor() {
    super();
    this.#show(localStorage.getItem(CHOSEN));
    system.addEventListener('change', () => this.dispatchEvent(new Event('change')));
  }

  get isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === 'dark' : system.matches;
  }

  /** The other one; where that is the system's own, the system is followed again. */
  turn() {
    const dark = !this.isDark;
    const chosen = dark === system.matches ? null : dark ? 'dark' : 'light';
    if (chosen) localStorage.setItem(CHOSEN, chosen);
    else localStorage.removeItem(CHOSEN);
    this.#show(chosen);
    this.dispatchEvent(new Event('change'));
  }

  #show(chosen) {
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
  }
}

export const theme = new Theme();
