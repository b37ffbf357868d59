// The heat maps of all stages, wait beside service, and the pointer and keys on them.
//
// Owns the rows, the cursor and what is dragged. Events: `choose` with a stage's `name`; `cell` with what was pressed on:
// `{ stage, kind, from_ms, to_ms, ns }`, the time and the least that it took; `aim`, when `aimed` says something new.

import { BUCKETS, lower, place, upper } from './buckets.js';
import { GUTTER } from './canvas.js';
import { Heat } from './heat.js';
import { make, put } from './make.js';
import { clock, time, whole } from './units.js';
import { say } from './words.js';
import { theme } from './theme.js';

const KINDS = ['wait', 'service'];
/** A pointer that moved less far pressed, and did not drag. */
const DRAG_PX = 6;
/** One that aims at a cell of a pixel means its neighbours too. */
const LEAST_CELL_PX = 5;
/** At least this high an axis, so that microseconds are not blown up. */
const LEAST_TOP = Math.ceil(place(2e6));

export class Maps extends EventTarget {
  /** What is under the cursor, in words. */
  aimed = '';
  marks = [];
  #root;
  #view;
  #feed;
  #rows = new Map();
  #cursor = null;
  #drag = null;
  // The stages whose maps the next frame draws.
  #due = new Set();

  constructor(root, view, feed) {
    super();
    this.#root = root;
    this.#view = view;
    this.#feed = feed;
    new ResizeObserver(() => this.draw()).observe(root);
    view.addEventListener('change', () => this.draw());
    theme.addEventListener('change', () => this.draw());
  }

  set stages(names) {
    this.#rows = new Map(names.map((name) => [name, this.#row(name)]));
    this.#root.replaceChildren(...[...this.#rows.values()].map(({ row }) => row));
  }

  #row(name) {
    const label = make('button', { className: 'stage', type: 'button' }, name);
    label.onclick = () => this.#tell('choose', { name });
    const figures = Object.fromEntries(KINDS.map((kind) => [kind, make('span', { className: 'number' })]));
    const maps = {};
    const cells = KINDS.map((kind) => {
      const canvas = make('canvas', { tabIndex: 0, className: 'heat' });
      canvas.setAttribute('role', 'application');
      canvas.setAttribute('aria-roledescription', say('heatMap'));
      canvas.dataset.kind = kind;
      canvas.dataset.stage = name;
      maps[kind] = new Heat(canvas, () => this.draw(name));
      this.#listen(canvas, name, kind);
      return make('div', { className: 'cell' }, make('p', { className: 'kind' }, `${say(kind)} p99 `, figures[kind]), canvas);
    });
    const row = make('div', { className: 'map' }, label, ...cells);
    row.dataset.stage = name;
    return { row, label, maps, figures };
  }

  choose(name) {
    for (const [of, { row, label }] of this.#rows) {
      row.classList.toggle('chosen', of === name);
      label.setAttribute('aria-pressed', of === name);
    }
    this.draw();
  }

  /** Puts the keyboard on a stage's map. */
  focus(name, kind = 'wait') {
    const canvas = this.#rows.get(name)?.maps[kind].surface.canvas;
    canvas?.focus();
    canvas?.scrollIntoView({ block: 'nearest' });
  }

  fill(seconds) {
    for (const second of seconds) this.keep(second);
    this.draw();
  }

  show(second) {
    this.keep(second);
    for (const { name, wait, service } of second.stages) {
      const row = this.#rows.get(name);
      if (!row) continue;
      put(row.figures.wait, time(wait?.p99_ns));
      put(row.figures.service, time(service?.p99_ns));
    }
    this.draw();
  }

  /** Without drawing. */
  keep({ t, stages }) {
    for (const stage of stages) {
      const maps = this.#rows.get(stage.name)?.maps;
      for (const kind of KINDS) maps?.[kind].add(t, stage[kind]);
    }
  }

  #top(kind) {
    let top = LEAST_TOP;
    for (const { maps } of this.#rows.values()) top = Math.max(top, maps[kind].top(this.#view));
    return Math.min(BUCKETS, top + 2);
  }

  /** All of them, or those of one stage: with the next frame, however often it is asked. */
  draw(only = null) {
    if (!this.#due.size) requestAnimationFrame(() => this.#drawDue());
    for (const name of only ? [only] : this.#rows.keys()) this.#due.add(name);
    // Without stages there is still something due, or a second frame would be asked for.
    this.#due.add('');
  }

  #drawDue() {
    const due = this.#due;
    this.#due = new Set();
    const drag = this.#drag?.moved ? [this.#drag.from, this.#drag.to] : null;
    for (const kind of KINDS) {
      const top = this.#top(kind);
      for (const [name, { maps }] of this.#rows) {
        const map = maps[kind];
        if (!due.has(name) || !map.surface.isSeen) continue;
        const cursor = this.#cursor?.name === name && this.#cursor.kind === kind ? this.#cursor : null;
        map.draw(this.#view, top, { dark: theme.isDark, marks: this.marks, cursor, drag });
        map.surface.canvas.setAttribute('aria-label', say('mapOf', name, say(kind), clock(this.#view.from), clock(this.#view.to)));
      }
    }
  }

  // The pointer

  #listen(canvas, name, kind) {
    const surface = () => this.#rows.get(name).maps[kind].surface;
    const at = ({ offsetX, offsetY }) => ({
      name,
      kind,
      t: surface().second(offsetX, this.#view),
      bucket: Math.min(BUCKETS - 1, Math.max(0, Math.floor(this.#top(kind) * (1 - offsetY / surface().height)))),
    });
    canvas.onpointerdown = (event) => {
      if (event.button !== 0 || event.offsetX < GUTTER - 4) return;
      const { t } = at(event);
      this.#drag = { x: event.offsetX, from: t, to: t, moved: false };
      if (event.pointerType !== 'touch') canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointermove = (event) => {
      const drag = this.#drag;
      if (drag && event.buttons) {
        drag.moved ||= Math.abs(event.offsetX - drag.x) > DRAG_PX;
        drag.to = at(event).t;
      }
      this.#aim(event.offsetX < GUTTER - 4 ? null : at(event));
    };
    canvas.onpointerleave = () => this.#drag || this.#aim(null);
    canvas.onpointercancel = () => {
      this.#drag = null;
      this.draw();
    };
    canvas.onpointerup = (event) => {
      const drag = this.#drag;
      this.#drag = null;
      if (!drag) return;
      if (drag.moved) this.#view.show(Math.min(drag.from, drag.to), Math.max(drag.from, drag.to));
      else this.#press(at(event));
    };
    canvas.ondblclick = (event) => event.preventDefault();
    canvas.onkeydown = (event) => this.#key(event, name, kind);
    canvas.onfocus = () => canvas.matches(':focus-visible') && this.#aim(this.#start(name, kind), true);
    canvas.onblur = () => this.#aim(null);
  }

  // The keys

  /** The newest second with anything in it, at its slowest. */
  #start(name, kind) {
    for (const second of [...this.#shown()].reverse()) {
      const slowest = spreadOf(second, name, kind)?.counts.at(-1)?.[0];
      if (slowest !== undefined) return { name, kind, t: second.t, bucket: slowest };
    }
    return { name, kind, t: this.#view.to - 1, bucket: 0 };
  }

  #key(event, name, kind) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const cursor = this.#cursor?.name === name && this.#cursor.kind === kind ? { ...this.#cursor } : this.#start(name, kind);
    const step = this.#rows.get(name).maps[kind].columnOf(this.#view) * (event.shiftKey ? 10 : 1);
    const within = (t) => Math.min(this.#view.to - 1, Math.max(this.#view.from, t));
    switch (event.key) {
      case 'ArrowLeft': cursor.t = within(cursor.t - step); break;
      case 'ArrowRight': cursor.t = within(cursor.t + step); break;
      case 'ArrowUp': cursor.bucket = this.#next(cursor, 1); break;
      case 'ArrowDown': cursor.bucket = this.#next(cursor, -1); break;
      case 'Home': cursor.t = this.#view.from; break;
      case 'End': cursor.t = this.#view.to - 1; break;
      case 'Enter': case ' ': this.#press(cursor); break;
      case '+': case '=': this.#view.nearer(cursor.t); break;
      case '-': this.#view.farther(cursor.t); break;
      default: return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.#aim(cursor, true);
  }

  /** The next cell that has something, slower or quicker; the next one at all where none has. */
  #next({ name, kind, t, bucket }, towards) {
    const second = this.#shown().find((second) => second.t === t);
    const full = (spreadOf(second, name, kind)?.counts ?? []).map(([bucket]) => bucket);
    const next = towards > 0 ? full.find((other) => other > bucket) : full.findLast((other) => other < bucket);
    return next ?? Math.min(this.#top(kind) - 1, Math.max(0, bucket + towards));
  }

  // Both

  #shown() {
    return this.#feed.seconds.filter(({ t }) => t >= this.#view.from && t < this.#view.to);
  }

  #cellOf({ name, kind, t, bucket }) {
    const map = this.#rows.get(name).maps[kind];
    const step = map.columnOf(this.#view);
    const from = Math.floor(t / step) * step;
    const counted = this.#feed.seconds.filter((second) => second.t >= from && second.t < from + step);
    const count = counted.reduce((all, second) => all + (spreadOf(second, name, kind)?.counts.find(([of]) => of === bucket)?.[1] ?? 0), 0);
    return { from, to: from + step, count };
  }

  /** Says and shows what is at the cursor; `aloud` where the keyboard went there. */
  #aim(cursor, aloud = false) {
    const before = this.#cursor;
    this.#cursor = cursor;
    this.aimed = '';
    if (cursor) {
      const { from, to, count } = this.#cellOf(cursor);
      const until = to - from > 1 ? `–${clock(to - 1)}` : '';
      this.aimed = say(`aim_${cursor.kind}`, `${clock(from)}${until}`, cursor.name, time(lower(cursor.bucket)), time(upper(cursor.bucket)), whole(count));
    }
    this.#tell('aim', { aloud });
    if (this.#drag?.moved) return this.draw();
    for (const of of [before, cursor]) if (of) this.draw(of.name);
  }

  /** The cell under the cursor and, where it is smaller than a fingertip or a pointer can hold, those around it. */
  #press(cursor) {
    const { name, kind, bucket } = cursor;
    const { surface } = this.#rows.get(name).maps[kind];
    const { from, to } = this.#cellOf(cursor);
    const rows = Math.floor((LEAST_CELL_PX / surface.height) * this.#top(kind));
    const more = Math.max(0, Math.ceil(((LEAST_CELL_PX / (surface.width - GUTTER)) * this.#view.span - (to - from)) / 2));
    // The server's own times: its seconds drift against ours.
    const within = this.#feed.seconds.filter((second) => second.t >= from - more && second.t < to + more);
    const [first, last] = [within.at(0)?.at_ms ?? from * 1000, within.at(-1)?.at_ms ?? to * 1000];
    this.#tell('cell', { stage: name, kind, from_ms: first - 1000, to_ms: last, ns: lower(Math.max(0, bucket - rows)) });
  }

  #tell(event, details) {
    this.dispatchEvent(Object.assign(new Event(event), details));
  }
}

function spreadOf(second, name, kind) {
  return second?.stages.find((stage) => stage.name === name)?.[kind];
}
