// What is out of the usual, in words, and the silence of its notices.
//
// Owns its elements; hidden while all is as usual and nothing is silent.

import { remove, send } from './ask.js';
import { make, put } from './make.js';
import { clock, rate, share, time } from './units.js';
import { say, sayOr } from './words.js';

const SILENCE = '1h';
const VALUES = { messages: rate, latency: (ms) => time(ms == null ? ms : ms * 1e6), errors: share, churn: rate };

export class Alerts {
  #root;
  #title = make('h2', { id: 'alerts-title' });
  #list = make('ul');
  #note = make('p', { className: 'soft' });
  #button = make('button', { type: 'button' });
  #silence = null;
  #told = '';

  constructor(root) {
    this.#root = root;
    this.#button.onclick = () => this.#turn();
    root.append(this.#title, this.#list, make('p', { className: 'buttons' }, this.#note, this.#button));
  }

  /** A server of an earlier version tells of none. */
  show({ alerts: { raised, silence } = { raised: [], silence: null } }) {
    // What is said anew each second would be read aloud each second.
    const told = JSON.stringify([raised, silence]);
    if (told === this.#told) return;
    this.#told = told;
    this.#silence = silence;
    this.#root.hidden = !raised.length && !silence;
    this.#root.dataset.kind = raised.length && !silence ? 'bad' : 'quiet';
    put(this.#title, raised.length ? say(raised.length === 1 ? 'alertOne' : 'alertMany', raised.length) : say('alertNone'));
    this.#list.replaceChildren(...raised.map((alert) => make('li', {}, sentence(alert))));
    put(this.#note, silence ? say('silentUntil', clock(silence.until_ms / 1000, false), silence.by, silence.reason || '–') : '');
    put(this.#button, say(silence ? 'endSilence' : 'silence'));
  }

  async #turn() {
    this.#button.disabled = true;
    try {
      const { alerts, silence } = await (this.#silence ? remove('alerts/silence') : send('alerts/silence', { for: SILENCE, reason: say('byDashboard') }));
      this.show({ alerts: { raised: alerts.filter(({ state }) => state === 'raised'), silence } });
    } catch (wrong) {
      put(this.#note, wrong.message);
    } finally {
      this.#button.disabled = false;
    }
  }
}

function sentence({ alert, value, expected, since_ms: since }) {
  const figure = VALUES[alert] ?? String;
  const range = (key, of) => (of ? say(key, figure(of[0]), figure(of[1])) : '');
  const now = value == null ? sayOr(`alert_${alert}_none`, alert) : say(`alert_${alert}`, figure(value));
  return [now, range('alertRecent', expected.recent), range('alertSameHour', expected.same_hour), say('alertSince', clock(since / 1000, false))].filter(Boolean).join(say('alertComma'));
}
