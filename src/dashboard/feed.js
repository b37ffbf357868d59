// What the server tells each second, kept for fifteen minutes, over lost connections and restarts.
//
// Owns the connection, the waits between attempts and the seconds. A second gets `t`, whole seconds since the epoch, about.
// Events: `second` with the new one, `filled` when many came at once, `state`.

import { get } from './ask.js';
import { KEPT } from './view.js';

const LONGEST_WAIT_S = 10;
/** A connection that says nothing so long is as good as none. */
const SILENCE_MS = 6_000;
/** Further apart, the wall's clock was set. */
const AGREE_S = 5;

export class Feed extends EventTarget {
  /** Oldest first. */
  seconds = [];
  /** connecting, live, or waiting for the next attempt, which is in `waitS`. */
  state = 'connecting';
  waitS = 0;
  #source = null;
  #failures = 0;
  #timer;
  #silence;

  get newest() {
    return this.seconds.at(-1) ?? null;
  }

  async connect() {
    this.#stop();
    this.#become('connecting');
    try {
      if (!this.newest) await this.#refill();
    } catch {
      return this.#fail();
    }
    const after = this.newest ? `?after=${this.newest.n}` : '';
    const source = new EventSource(`live${after}`);
    this.#source = source;
    source.onopen = () => this.#hear(source);
    source.onmessage = ({ data }) => this.#receive(source, JSON.parse(data));
    source.onerror = () => source === this.#source && this.#fail();
    this.#hear(source);
  }

  async #refill() {
    const seconds = await get(`history?seconds=${KEPT}`);
    this.seconds = [];
    for (const second of seconds) this.#keep(second);
    this.dispatchEvent(new Event('filled'));
  }

  async #receive(source, second) {
    if (source !== this.#source) return;
    this.#hear(source);
    this.#failures = 0;
    // It counts from the start again: another process, whose seconds before this one we do not know.
    if (this.newest && second.n <= this.newest.n) await this.#join();
    if (this.newest && second.n <= this.newest.n && second.at_ms <= this.newest.at_ms) return;
    this.#keep(second);
    if (this.state !== 'live') this.#become('live');
    this.dispatchEvent(Object.assign(new Event('second'), { second: this.newest }));
  }

  /** What a new process remembers, behind what we remember of the old one. */
  async #join() {
    const old = this.seconds;
    try {
      await this.#refill();
    } catch {
      return;
    }
    const first = this.seconds[0]?.t ?? Infinity;
    this.seconds = [...old.filter(({ t }) => t < first), ...this.seconds];
    this.dispatchEvent(new Event('filled'));
  }

  #keep(second) {
    second.t = this.#placeOf(second);
    this.seconds.push(second);
    while (this.seconds[0].t <= second.t - KEPT) this.seconds.shift();
  }

  /** By its number, as the server's seconds follow on each other while their ends are told early or late. */
  #placeOf({ n, at_ms: at }) {
    const told = Math.round(at / 1000);
    const { newest } = this;
    if (!newest) return told;
    const counted = newest.t + n - newest.n;
    if (n > newest.n && Math.abs(counted - told) <= AGREE_S) return counted;
    // Another process or another clock: time goes on all the same, so that nothing is drawn over.
    return Math.max(told, newest.t + 1);
  }

  #hear(source) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => source === this.#source && this.#fail(), SILENCE_MS);
  }

  #fail() {
    this.#stop();
    this.waitS = Math.min(LONGEST_WAIT_S, 2 ** this.#failures++);
    this.#become('waiting');
    this.#timer = setInterval(() => {
      this.waitS--;
      if (this.waitS <= 0) this.connect();
      else this.#become('waiting');
    }, 1000);
  }

  #stop() {
    clearInterval(this.#timer);
    clearTimeout(this.#silence);
    this.#source?.close();
    this.#source = null;
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event('state'));
  }
}
