// The figures of the whole server: what is delivered, who is there, what it costs.

import { make, put } from './make.js';
import { bytes, rate, short, time, whole } from './units.js';
import { say } from './words.js';

const ms = (value) => time(value == null ? null : value * 1e6);

/** By key: the words for it are `figure_` and the key. */
const FIGURES = {
  delivered: (second) => rate(second.delivery.rate),
  p50: (second) => ms(second.delivery.p50_ms),
  p99: (second) => ms(second.delivery.p99_ms),
  p999: (second) => ms(second.delivery.p999_ms),
  connections: (second) => whole(second.connections),
  sessions: (second) => whole(second.sessions),
  conversations: (second) => whole(second.conversations),
  cpu: (second) => (second.cpu == null ? '–' : say('cores', second.cpu.toFixed(second.cpu < 10 ? 2 : 0))),
  memory: (second) => bytes(second.resident_bytes),
  store: (second) => bytes(second.store?.bytes),
  received: (second) => `${bytes(second.received_bytes)}/s`,
  sent: (second) => `${bytes(second.sent_bytes)}/s`,
  mailbox: (second) => short(second.mailbox),
  slowReaders: (second) => whole(second.slow_readers),
};

export class Figures {
  #values = new Map();

  constructor(root) {
    for (const key of Object.keys(FIGURES)) {
      const value = make('dd', {}, '–');
      this.#values.set(key, value);
      root.append(make('div', { title: say(`about_${key}`) }, make('dt', {}, say(`figure_${key}`)), value));
    }
  }

  show(second) {
    for (const [key, value] of this.#values) put(value, FIGURES[key](second));
  }
}
