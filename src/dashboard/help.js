// The keys, and the page that tells them.

import { make } from './make.js';
import { say } from './words.js';

const TOLD = [
  ['?', 'key_help'],
  ['1 … 9', 'key_stage'],
  ['[ ]', 'key_next'],
  ['t', 'key_tune'],
  ['u', 'key_undo'],
  ['m', 'key_map'],
  ['← → ↑ ↓', 'key_move'],
  ['Enter', 'key_open'],
  ['+ −', 'key_zoom'],
  ['0', 'key_whole'],
  ['c', 'key_changes'],
  ['d', 'key_theme'],
  ['l', 'key_language'],
  ['Esc', 'key_close'],
];

export function fillHelp(dialog) {
  const list = make('dl', { className: 'keys' });
  for (const [key, words] of TOLD) list.append(make('dt', {}, ...key.split(' ').map((one) => (one === '…' ? ' … ' : make('kbd', {}, one)))), make('dd', {}, say(words)));
  dialog.querySelector('div').replaceChildren(list);
  dialog.onclick = (event) => event.target === dialog && dialog.close();
}

/** Calls what a key is for. Letters that somebody types into a field are theirs. */
export function listen(actions) {
  addEventListener('keydown', (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const typing = target.matches?.('input, select, textarea');
    if (typing) {
      if (key === 'Escape') target.blur();
      return;
    }
    const action = /^[1-9]$/.test(key) ? actions.stage : actions[key];
    if (!action) return;
    event.preventDefault();
    action(key);
  });
}
