// The controls of one stage. What is typed is tried on the server at once (a dry run), which says in words what would come
// of it; nothing is changed before Apply.
//
// Owns the form. Events: `changed` after a change, `choose` when another stage is chosen in its list.

import { get, patch } from './ask.js';
import { told } from './changes.js';
import { make, put } from './make.js';
import { say } from './words.js';

const TRY_AFTER_MS = 350;

export class Tune extends EventTarget {
  #form;
  #hint;
  #apply;
  #stages;
  #fields;
  #autos;
  #name = null;
  #running = null;
  #pool = null;
  #timer;
  #asked = 0;
  #busy = false;

  constructor(form, names) {
    super();
    this.#form = form;
    const field = (name) => form.elements[name];
    this.#hint = form.querySelector('output');
    this.#apply = form.querySelector('[type=submit]');
    this.#stages = field('stage');
    this.#fields = Object.fromEntries(['workers', 'batch', 'bound', 'policy', 'pool', 'delay_target_ms', 'threads'].map((name) => [name, field(name)]));
    this.#autos = Object.fromEntries([...form.querySelectorAll('[data-auto]')].map((button) => [button.dataset.auto, button]));
    for (const button of Object.values(this.#autos)) {
      button.onclick = () => {
        press(button, !isPressed(button));
        this.#edited();
      };
    }
    this.#stages.replaceChildren(...names.map((name) => make('option', {}, name)));
    this.#stages.onchange = () => this.dispatchEvent(Object.assign(new Event('choose'), { name: this.#stages.value }));
    form.oninput = (event) => event.target !== this.#stages && this.#edited();
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#make();
    };
    form.onreset = (event) => {
      // The browser would empty the fields; what is running belongs there.
      event.preventDefault();
      this.say('');
      this.#take(true);
    };
    for (const button of form.querySelectorAll('[data-step]')) {
      button.onclick = () => {
        const of = field(button.dataset.of);
        of.value = stepped(of.name, Number(of.value) || 1, button.dataset.step === 'more');
        this.#edited();
      };
    }
  }

  /** `running`: what was last told of it. */
  choose(name, running) {
    if (name === this.#name) return;
    this.#name = name;
    this.#stages.value = name;
    this.#running = running;
    this.#pool = null;
    this.say('');
    this.#take(true);
    this.refresh();
  }

  /** Asks what is running: the seconds tell it later than a change is in force. What somebody is just typing stays. */
  async refresh() {
    const name = this.#name;
    const [running, pools] = await Promise.all([get(`stages/${encodeURIComponent(name)}`), get('pools')]).catch(() => []);
    if (!running || name !== this.#name) return;
    const isEdited = Object.keys(this.#wish()).length > 0;
    this.#running = running;
    this.#pool = pools.find((pool) => pool.name === running.pool) ?? null;
    const own = make('option', { value: name }, say('ownPool'));
    // A pool of another stage's own is not for sharing: the server would say so, too.
    const shared = pools.filter((pool) => pool.name !== name && !(pool.stages.length === 1 && pool.stages[0] === pool.name));
    const { pool } = this.#fields;
    const chosen = pool.value || running.pool;
    pool.replaceChildren(own, ...shared.map(({ name, workers }) => make('option', { value: name }, say('poolOf', name, workers))));
    pool.value = chosen;
    this.#take(!isEdited);
  }

  focus() {
    const { workers } = this.#fields;
    if (workers.disabled) return this.#autos.workers.focus();
    workers.focus();
    workers.select();
  }

  say(words, kind = '') {
    put(this.#hint, words);
    this.#hint.dataset.kind = kind;
  }

  /** Puts what is running into the fields; all, or those that nobody touched. */
  #take(all) {
    const running = this.#running;
    if (!running) return;
    const isShared = Boolean(this.#pool) && this.#pool.name !== this.#name;
    const values = { ...this.#valuesOf(running), threads: this.#pool?.workers ?? '' };
    for (const [key, field] of Object.entries(this.#fields)) {
      if (all || field.dataset.running === field.value) field.value = values[key] ?? '';
      field.dataset.running = String(values[key] ?? '');
    }
    for (const [key, button] of Object.entries(this.#autos)) {
      const auto = Boolean(running.auto?.[key]);
      if (all || button.dataset.running === String(isPressed(button))) press(button, auto);
      button.dataset.running = String(auto);
    }
    this.#fields.threads.closest('label').hidden = !isShared;
    if (isShared) put(this.#fields.threads.closest('label').querySelector('span'), say('threadsOf', this.#pool.name));
    this.#mark();
  }

  #valuesOf({ workers, batch, bound, policy, pool, delay_target_ms: target }) {
    return { workers, batch, bound, policy, pool, delay_target_ms: target };
  }

  /** What differs from what is running. */
  #wish() {
    const wish = {};
    for (const [key, field] of Object.entries(this.#fields)) {
      const auto = this.#autos[key];
      if (auto && auto.dataset.running !== String(isPressed(auto))) {
        // No longer left to the server, it is the number that is there.
        wish[key] = isPressed(auto) ? 'auto' : Number(field.value);
        continue;
      }
      if (field.disabled || field.closest('label').hidden || field.value === '' || field.value === field.dataset.running) continue;
      wish[key] = field.tagName === 'SELECT' ? field.value : Number(field.value);
    }
    return wish;
  }

  #mark() {
    const wish = this.#wish();
    for (const [key, field] of Object.entries(this.#fields)) field.classList.toggle('edited', key in wish);
    for (const [key, button] of Object.entries(this.#autos)) {
      const isOn = isPressed(button);
      button.classList.toggle('edited', button.dataset.running !== String(isOn));
      this.#fields[key].disabled = isOn;
      for (const step of button.parentElement.querySelectorAll('[data-step]')) step.disabled = isOn;
    }
    this.#apply.disabled = this.#busy || !Object.keys(wish).length;
    this.#form.querySelector('[type=reset]').disabled = this.#apply.disabled;
  }

  #edited() {
    this.#mark();
    clearTimeout(this.#timer);
    this.#asked++;
    if (this.#apply.disabled) return this.say('');
    this.#timer = setTimeout(() => this.#try(), TRY_AFTER_MS);
  }

  /** One question for the stage, one for the threads of a pool that it shares. */
  #asks() {
    const { threads, ...stage } = this.#wish();
    const asks = [];
    if (Object.keys(stage).length) asks.push([`stages/${encodeURIComponent(this.#name)}`, stage]);
    if (threads !== undefined) asks.push([`pools/${encodeURIComponent(this.#pool.name)}`, { workers: threads }]);
    return asks;
  }

  async #try() {
    const asked = ++this.#asked;
    try {
      const tried = [];
      for (const [path, wish] of this.#asks()) tried.push(...(await patch(`${path}?dry_run=true`, wish)).changes);
      if (asked === this.#asked) this.say(tried.length ? say('would', tried.map(told).join(', ')) : say('already'), 'would');
    } catch (wrong) {
      if (asked === this.#asked) this.say(wrong.message, 'bad');
    }
  }

  async #make() {
    clearTimeout(this.#timer);
    this.#asked++;
    const asks = this.#asks();
    if (!asks.length || this.#busy) return;
    this.#busy = true;
    this.#mark();
    try {
      const done = [];
      for (const [path, wish] of asks) {
        await patch(path, wish);
        done.push(...Object.entries(wish).map(([key, value]) => `${key} = ${value}`));
      }
      // From now on this is what runs; the next second says so too.
      for (const field of Object.values(this.#fields)) field.dataset.running = field.value;
      for (const button of Object.values(this.#autos)) button.dataset.running = String(isPressed(button));
      this.say(say('inForce', done.join(', ')), 'good');
    } catch (wrong) {
      this.say(wrong.message, 'bad');
    }
    this.#busy = false;
    this.#mark();
    this.dispatchEvent(new Event('changed'));
  }
}

const isPressed = (button) => button.getAttribute('aria-pressed') === 'true';

const press = (button, on) => button.setAttribute('aria-pressed', String(on));

/** Threads one by one; sizes by doubling, which is the step that shows. */
function stepped(key, value, up) {
  if (key === 'workers' || key === 'threads') return Math.max(1, value + (up ? 1 : -1));
  return up ? value * 2 : Math.max(1, Math.floor(value / 2));
}
