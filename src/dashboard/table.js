// The graph as a table of words and numbers, for whoever reads better so, or has it read aloud.

import { make, put } from './make.js';
import { rate, share, time, whole } from './units.js';
import { say } from './words.js';

const COLUMNS = {
  stage: ({ name }) => name,
  to: (_, to) => to,
  rate: (stage) => rate(stage.rate),
  busy: (stage) => share(stage.utilisation),
  queue: (stage) => say('of', whole(stage.depth), whole(stage.bound)),
  held: (stage) => whole(stage.held),
  waitP50: (stage) => time(stage.wait?.p50_ns),
  waitP99: (stage) => time(stage.wait?.p99_ns),
  serviceP50: (stage) => time(stage.service?.p50_ns),
  serviceP99: (stage) => time(stage.service?.p99_ns),
  blocked: ({ blocked }) => (blocked?.share >= 0.005 ? say('blockedBy', share(blocked.share), blocked.by) : say('no')),
  refused: (stage) => whole(stage.refused),
  threads: (stage) => `${stage.workers}${stage.auto?.workers ? ` ${say('auto')}` : ''} · ${stage.pool}`,
  // By Little's law: far from 0, an instrument lies.
  law: ({ law }) => (law?.error == null ? '–' : share(law.error)),
};

export class Table {
  #details;
  #cells = new Map();
  #last = null;

  constructor(details, topology) {
    this.#details = details;
    const head = make('tr', {}, ...Object.keys(COLUMNS).map((key) => make('th', { scope: 'col' }, say(`column_${key}`))));
    const body = make('tbody');
    for (const { name, to } of topology.stages) {
      const cells = Object.keys(COLUMNS).map((key, at) => make(at ? 'td' : 'th', at ? {} : { scope: 'row' }));
      const next = Object.entries(to ?? {}).map(([output, target]) => (target === 'none' ? say('nowhere', output) : `${target} (${output})`));
      this.#cells.set(name, { cells, to: next.join(', ') || say('clients') });
      body.append(make('tr', {}, ...cells));
    }
    const table = make('table', {}, make('caption', {}, say('tableCaption')), make('thead', {}, head), body);
    details.append(make('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: say('tableCaption') }, table));
    details.addEventListener('toggle', () => this.#last && this.show(this.#last));
  }

  show(second) {
    this.#last = second;
    if (!this.#details.open) return;
    for (const stage of second.stages) {
      const row = this.#cells.get(stage.name);
      if (row) Object.values(COLUMNS).forEach((words, at) => put(row.cells[at], words(stage, row.to)));
    }
  }
}
