// Which language the page speaks, and how its sentences are filled in.
//
// The words are in en.js and zh.js, key by key the same.

import en from './en.js';
import zh from './zh.js';

const CHOSEN = 'tidegate-language';
const chosen = localStorage.getItem(CHOSEN);

export const language = ['en', 'zh'].includes(chosen) ? chosen : navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
const words = { en, zh }[language];

/** `{0}` and `{1}` are filled in. */
export const say = (key, ...values) => words[key].replace(/\{(\d)\}/g, (_, at) => values[at]);

/** The words of a key that the server chose; its own where we have none. */
export const sayOr = (key, other) => (key in words ? say(key) : other);

/** Everything on the page is said anew: that is what loading does. */
export function speak(other) {
  localStorage.setItem(CHOSEN, other);
  location.reload();
}

/** What index.html says by key: as text, as a title, as a label. */
export function fillIn(root) {
  document.documentElement.lang = language;
  for (const element of root.querySelectorAll('[data-say]')) element.textContent = say(element.dataset.say);
  for (const element of root.querySelectorAll('[data-label]')) {
    element.title = say(element.dataset.label);
    // What says something itself keeps its name.
    if (!element.dataset.say && element.localName !== 'label') element.ariaLabel = element.title;
  }
}
