// How the page stands to the server: live, without it, and what the server says about itself in words.
//
// Owns the line in the header and the banner. What is shown while the server is gone is told to be old.

import { readiness } from './ask.js';
import { make, put } from './make.js';
import { clock } from './units.js';
import { say } from './words.js';

const ASK_EVERY_MS = 5_000;

export class Status {
  #feed;
  #state;
  #trouble;
  #reasons = [];
  #ready = true;
  #gone = false;

  constructor(state, trouble, feed) {
    this.#state = state;
    this.#trouble = trouble;
    this.#feed = feed;
    feed.addEventListener('state', () => this.#show());
    feed.addEventListener('second', () => this.#show());
    setInterval(() => document.hidden || this.#ask(), ASK_EVERY_MS);
    this.#ask();
    this.#show();
  }

  async #ask() {
    if (this.#feed.state === 'waiting') return;
    const { ready, reasons } = await readiness().catch(() => ({ ready: true, reasons: [] }));
    this.#ready = ready;
    this.#reasons = reasons;
    this.#show();
  }

  #show() {
    const { state, waitS, newest } = this.#feed;
    // While it tries again it is gone still.
    if (state !== 'connecting') this.#gone = state === 'waiting';
    document.body.classList.toggle('gone', this.#gone);
    this.#state.dataset.state = state === 'live' && !this.#ready ? 'unready' : state;
    if (state === 'live') put(this.#state, say(this.#ready ? 'live' : 'unready', clock(newest.t)));
    else put(this.#state, say(state, waitS));
    const store = newest?.store;
    const lines = this.#gone
      ? [newest ? say('goneSince', clock(newest.t)) : say('goneAtAll')]
      : [...new Set([...this.#reasons, store?.trouble, store?.warning].filter(Boolean))];
    const kind = this.#gone || !this.#ready || store?.trouble ? 'bad' : 'warn';
    this.#say(lines, kind, this.#gone);
  }

  #say(lines, kind, isGone) {
    this.#trouble.dataset.kind = kind;
    this.#trouble.hidden = !lines.length;
    // Said again each second, an alert would be read aloud each second.
    const words = lines.join('\n');
    if (this.#trouble.dataset.words === words) return;
    this.#trouble.dataset.words = words;
    const children = lines.map((line) => make('span', {}, line));
    if (isGone) children.push(make('button', { type: 'button', onclick: () => this.#feed.connect() }, say('tryNow')));
    this.#trouble.replaceChildren(...children);
  }
}
