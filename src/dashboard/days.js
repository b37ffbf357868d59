// What each day came to, by app: the newest days, asked for again every minute.

import { get } from './ask.js';
import { make } from './make.js';
import { whole } from './units.js';

const ASK_EVERY_MS = 60_000;
const SHOWN = 14;
const COLUMNS = ['messages', 'active_clients', 'peak_connections'];

export class Days {
  #table;
  #trouble;

  constructor(table, trouble) {
    this.#table = table;
    this.#trouble = trouble;
    setInterval(() => document.hidden || this.refresh(), ASK_EVERY_MS);
  }

  async refresh() {
    try {
      const days = await get(`days?days=${SHOWN}`);
      // An app that nobody used for all this time is left out; if nobody used any, today is still shown.
      const used = new Set(days.filter((day) => COLUMNS.some((key) => day[key])).map(({ app }) => app));
      const shown = days.filter(({ app, day }) => used.has(app) || (!used.size && day === days[0].day));
      this.#table.tBodies[0].replaceChildren(...shown.map(row));
      this.#table.hidden = false;
      this.#trouble.hidden = true;
    } catch (wrong) {
      this.#trouble.textContent = wrong.message;
      this.#trouble.hidden = false;
    }
  }
}

function row(day) {
  const figures = COLUMNS.map((key) => make('td', { className: 'number' }, whole(day[key])));
  return make('tr', {}, make('th', { scope: 'row' }, day.day), make('td', {}, day.app), ...figures);
}
