// The list of live changes: who changed what, what came of it; taking the last one back, and saving what runs.
//
// Owns the list, its marks for the time axis, and when to ask again. Events: `change` when the list is new, `told` with
// `words` (and `failed`) about what was done.

import { get, post } from './ask.js';
import { make } from './make.js';
import { clock, rate, time } from './units.js';
import { say } from './words.js';

/** The server knows the effect of a change a minute later. */
const EFFECT_MS = 62_000;
const SHOWN = 50;

export class Changes extends EventTarget {
  list = [];
  #body;
  #undo;
  #empty;
  #timer;

  constructor(body, empty, undo, save) {
    super();
    this.#body = body;
    this.#empty = empty;
    this.#undo = undo;
    for (const button of undo) button.onclick = () => this.undo();
    save.onclick = () => this.save();
    this.#show();
  }

  /** For the time axis: `{ t, number }`. */
  get marks() {
    return this.list.map(({ id, at_ms: at }) => ({ t: Math.round(at / 1000), number: id }));
  }

  /** The change that would be taken back, or null: not what the server does by itself, for it would do that again. */
  get last() {
    return this.list.findLast((change) => !change.why && !change.undoes && !change.undone_by && change.changes.length) ?? null;
  }

  async refresh() {
    clearTimeout(this.#timer);
    this.list = await get('changes').catch(() => this.list);
    const waiting = this.list.filter(({ effect }) => effect?.some(({ after }) => after === null)).map(({ at_ms: at }) => at + EFFECT_MS - Date.now());
    // One whose minute is long over has none: there was no second to measure it by.
    const soonest = Math.min(...waiting.filter((ms) => ms > -EFFECT_MS));
    if (Number.isFinite(soonest)) this.#timer = setTimeout(() => this.refresh(), Math.max(2_000, soonest));
    this.#show();
    this.dispatchEvent(new Event('change'));
  }

  async undo() {
    await this.#do(async () => {
      const { changes } = await post('undo');
      return say('undone', changes.map(told).join(', '));
    });
  }

  async save() {
    await this.#do(async () => {
      const { file, backup, changes } = await post('config/save');
      return changes.length ? say('saved', file, backup ?? '–') : say('savedAlready', file);
    });
  }

  async #do(what) {
    let words;
    let failed = false;
    try {
      words = await what();
    } catch (wrong) {
      words = wrong.message;
      failed = true;
    }
    await this.refresh();
    this.dispatchEvent(Object.assign(new Event('told'), { words, failed }));
  }

  #show() {
    const { last } = this;
    for (const button of this.#undo) {
      button.disabled = !last;
      button.title = last ? say('undoWhat', last.changes.map(told).join(', ')) : say('undoNothing');
    }
    this.#empty.hidden = this.list.length > 0;
    this.#body.parentElement.hidden = !this.list.length;
    this.#body.replaceChildren(...this.list.slice(-SHOWN).reverse().map(row));
  }
}

function row({ id, at_ms: at, by, changes, why, effect, undoes, undone_by: undoneBy }) {
  const what = make('td', {}, ...changes.map((setting) => make('div', {}, told(setting))));
  if (why) what.append(make('div', { className: 'soft' }, why));
  if (undoes) what.append(make('div', { className: 'soft' }, say('undoes', undoes)));
  if (undoneBy) what.append(make('div', { className: 'soft' }, say('undoneBy', undoneBy)));
  const effects = (effect ?? []).map(({ of, before, after }) => {
    const line = (key, words, figures) => `${words} ${figures(before[key])} → ${after ? figures(after[key]) : say('laterKnown')}`;
    return make('div', {}, make('b', {}, of === 'pipeline' ? say('pipeline') : of), ` ${line('rate', '', rate)} · ${line('p99_ms', 'p99', (ms) => time(ms == null ? null : ms * 1e6))}`);
  });
  const line = make('tr', {}, make('th', { scope: 'row' }, `◆ ${id}`), make('td', { className: 'number' }, clock(at / 1000)), what, make('td', { className: 'number' }, ...effects), make('td', { className: 'soft' }, by));
  line.classList.toggle('undone', Boolean(undoneBy));
  return line;
}

/** A setting that became another one. */
export function told({ key, from, to }) {
  return `${key.replace(/^stages\./, '')} ${value(from)} → ${value(to)}`;
}

const value = (value) => (value === null ? '–' : typeof value === 'string' ? value : JSON.stringify(value));
