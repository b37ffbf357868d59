// The journeys of sampled messages that were in one cell of a heat map: what each stage of each took, as bars.
//
// Owns the dialog. A hatched part is waiting, a solid one work; the stage that was pressed on has the colour.

import { get } from './ask.js';
import { make } from './make.js';
import { clock, time } from './units.js';
import { say } from './words.js';

/** What took microseconds is still seen beside what waited for a disk. */
const LEAST_SHARE = 0.004;

export class Journeys {
  #dialog;
  #title;
  #list;
  #asked = 0;

  constructor(dialog) {
    this.#dialog = dialog;
    this.#title = dialog.querySelector('h2');
    this.#list = dialog.querySelector('div');
    dialog.onclick = (event) => event.target === dialog && dialog.close();
  }

  /** A cell as the heat maps tell it. */
  async open({ stage, kind, from_ms: from, to_ms: to, ns }) {
    const asked = ++this.#asked;
    this.#title.textContent = say(`journeys_${kind}`, stage, time(ns), `${clock(from / 1000)}–${clock(to / 1000)}`);
    this.#list.replaceChildren(make('p', { className: 'soft' }, say('reading')));
    if (!this.#dialog.open) this.#dialog.showModal();
    const least = `${kind}_at_least_us=${Math.floor(ns / 1000)}`;
    const path = `journeys?stage=${encodeURIComponent(stage)}&from_ms=${Math.floor(from)}&to_ms=${Math.ceil(to)}&${least}`;
    let shown;
    try {
      const journeys = await get(path);
      shown = journeys.length ? journeys.map((journey, at) => drawn(journey, stage, at === 0)) : [make('p', { className: 'none' }, say('notSampled'))];
    } catch (failed) {
      shown = [make('p', { className: 'bad', role: 'alert' }, failed.message)];
    }
    if (asked === this.#asked) this.#list.replaceChildren(...shown);
  }
}

function drawn({ id, journey, at_ms: at, total_us: total, stages }, chosen, open) {
  const spans = stages.map((span) => {
    const works = span.queued_us + span.wait_us;
    return { ...span, works, ends: works + span.service_us };
  }).sort((one, other) => one.queued_us - other.queued_us);
  const all = Math.max(total, ...spans.map(({ ends }) => ends)) || 1;
  const here = spans.filter(({ stage }) => stage === chosen);
  const sum = (key) => time(here.reduce((sum, span) => sum + span[key], 0) * 1000);

  const rows = spans.map((span) => {
    const name = make('th', { scope: 'row' }, span.stage);
    const numbers = [time(span.queued_us * 1000), time(span.wait_us * 1000), time(span.service_us * 1000), span.batch ?? '–'];
    const row = make('tr', {}, name, make('td', { className: 'lane' }, bar([span], all, chosen)), ...numbers.map((number) => make('td', {}, String(number))));
    row.classList.toggle('chosen', span.stage === chosen);
    return row;
  });
  const heads = ['column_stage', 'journeyBar', 'journeyAt', 'waited', 'worked', 'batch'].map((key) => make('th', { scope: 'col' }, say(key)));
  const table = make('table', {}, make('thead', {}, make('tr', {}, ...heads)), make('tbody', {}, ...rows));
  const summary = make(
    'summary', {},
    make('b', { className: 'number' }, time(total * 1000)),
    make('span', { className: 'soft' }, say('journeyHere', sum('wait_us'), sum('service_us'))),
    bar(spans, all, chosen),
    make('span', { className: 'soft number' }, clock(at / 1000)),
    make('code', {}, id),
  );
  const named = make('p', { className: 'soft' }, say('journeyId', journey));
  return make('details', { open }, summary, make('div', { className: 'wide' }, table), named);
}

/** One lane with these spans on it; a later one lies over an earlier one. */
function bar(spans, all, chosen) {
  const lane = make('span', { className: 'bar' });
  for (const span of spans) {
    for (const [cls, from, to] of [['wait', span.queued_us, span.works], ['work', span.works, span.ends]]) {
      if (to <= from) continue;
      const piece = make('i', { className: cls, title: `${span.stage}: ${say('took', time(span.wait_us * 1000), time(span.service_us * 1000))}` });
      const width = Math.max(LEAST_SHARE, (to - from) / all);
      piece.style.left = `${100 * Math.min(from / all, 1 - width)}%`;
      piece.style.width = `${100 * width}%`;
      piece.classList.toggle('chosen', span.stage === chosen);
      lane.append(piece);
    }
  }
  return lane;
}
