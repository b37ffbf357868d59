// One heat map: a column a second, a row a bucket of time, the colour how many.
//
// Owns the numbers of its columns and draws them. Where there are more seconds than pixels, a pixel shows the most of its
// seconds, so that one bad second is never averaged away.

import { BUCKETS, decades } from './buckets.js';
import { GUTTER, Surface } from './canvas.js';
import { time } from './units.js';
import { palette } from './palette.js';

/** More than the seconds that are kept, and a power of two. */
const RING = 1024;
/** How finely a count is kept: in steps of a logarithm, so that a byte reaches to two millions. */
const STEPS = 12;

export class Heat {
  surface;
  #amounts = new Uint8Array(RING * BUCKETS);
  #of = new Float64Array(RING).fill(-1);
  #tops = new Uint8Array(RING);
  #image = null;
  #copy = document.createElement('canvas');

  constructor(canvas, appear) {
    this.surface = new Surface(canvas, appear);
  }

  add(t, spread) {
    const column = t % RING;
    const from = column * BUCKETS;
    this.#amounts.fill(0, from, from + BUCKETS);
    this.#of[column] = t;
    this.#tops[column] = 0;
    if (!spread) return;
    for (const [bucket, count] of spread.counts) {
      if (!(bucket >= 0 && bucket < BUCKETS)) continue;
      this.#amounts[from + bucket] = Math.min(255, Math.ceil(STEPS * Math.log2(1 + count)));
      this.#tops[column] = Math.max(this.#tops[column], bucket + 1);
    }
  }

  /** The bucket above all that is in this part of time; 0 where nothing is. */
  top(view) {
    let top = 0;
    for (let t = view.from; t < view.to; t++) if (this.#has(t)) top = Math.max(top, this.#tops[t % RING]);
    return top;
  }

  /** How many seconds a column of the picture has. */
  columnOf(view) {
    return Math.max(1, Math.ceil(view.span / Math.max(1, Math.floor(this.surface.width - GUTTER))));
  }

  /** Draws up to `top` buckets; `cursor` is `{ t, bucket }` or null. */
  draw(view, top, { dark, marks, cursor, drag }) {
    const { surface } = this;
    if (!surface.begin()) return;
    const { colours, height, width } = surface;
    surface.grid(view);
    this.#scale(top);
    const most = this.#paint(view, top, palette(dark));
    if (most) {
      const step = this.columnOf(view);
      const first = Math.floor(view.from / step) * step;
      const x = surface.x(first, view);
      const context = surface.context;
      context.save();
      context.beginPath();
      context.rect(GUTTER, 0, width - GUTTER, height);
      context.clip();
      context.imageSmoothingEnabled = false;
      context.drawImage(this.#copy, x, 0, surface.x(first + step * this.#copy.width, view) - x, height);
      context.restore();
    }
    surface.marks(marks, view);
    surface.line(GUTTER, height - 0.5, width, height - 0.5, colours.line);
    if (drag) this.#shade(drag, view);
    if (cursor) this.#cross(cursor, view, top);
  }

  #has(t) {
    return this.#of[t % RING] === t;
  }

  #y(bucket, top) {
    return this.surface.height * (1 - bucket / top);
  }

  #scale(top) {
    const { surface } = this;
    const all = decades(top);
    const each = Math.max(1, Math.ceil((16 * all.length) / surface.height));
    all.forEach(([bucket, ns], at) => {
      if (at % each !== 0) return;
      const y = this.#y(bucket, top);
      surface.line(GUTTER - 4, y, GUTTER, y, surface.colours.line);
      surface.text(time(ns), GUTTER - 7, Math.min(surface.height - 6, Math.max(6, y)), surface.colours.soft, 'right');
    });
  }

  /** A pixel a cell, on a canvas of its own; how much is in the fullest cell. */
  #paint(view, top, colours) {
    const step = this.columnOf(view);
    const first = Math.floor(view.from / step) * step;
    const columns = Math.ceil((view.to - first) / step);
    const cells = new Uint8Array(columns * top);
    const amounts = this.#amounts;
    let most = 0;
    for (let t = first; t < view.to; t++) {
      if (!this.#has(t)) continue;
      const to = Math.floor((t - first) / step) * top;
      const from = (t % RING) * BUCKETS;
      const full = Math.min(top, this.#tops[t % RING]);
      for (let bucket = 0; bucket < full; bucket++) {
        const amount = amounts[from + bucket];
        if (amount > cells[to + bucket]) cells[to + bucket] = amount;
        if (amount > most) most = amount;
      }
    }
    if (!most) return 0;
    if (this.#image?.width !== columns || this.#image.height !== top) {
      this.#image = new ImageData(columns, top);
      this.#copy.width = columns;
      this.#copy.height = top;
    }
    const pixels = new Uint32Array(this.#image.data.buffer);
    pixels.fill(0);
    for (let column = 0, cell = 0; column < columns; column++) {
      for (let row = top - 1; row >= 0; row--, cell++) {
        if (cells[cell]) pixels[row * columns + column] = colours[Math.max(1, Math.round((255 * cells[cell]) / most))];
      }
    }
    this.#copy.getContext('2d').putImageData(this.#image, 0, 0);
    return most;
  }

  #shade([one, two], view) {
    const { surface } = this;
    const [from, to] = [Math.min(one, two), Math.max(one, two) + 1].map((t) => surface.x(t, view));
    surface.context.globalAlpha = 0.18;
    surface.context.fillStyle = surface.colours.mark;
    surface.context.fillRect(from, 0, to - from, surface.height);
    surface.context.globalAlpha = 1;
    surface.line(from, 0, from, surface.height, surface.colours.mark, 1.5);
    surface.line(to, 0, to, surface.height, surface.colours.mark, 1.5);
  }

  #cross({ t, bucket }, view, top) {
    const { surface } = this;
    const { context, colours } = surface;
    const step = this.columnOf(view);
    const first = Math.floor(t / step) * step;
    const x = surface.x(first, view);
    const w = Math.max(5, surface.x(first + step, view) - x);
    const y = this.#y(bucket + 1, top);
    const h = Math.max(5, this.#y(bucket, top) - y);
    const middle = x + w / 2;
    for (const [width, colour] of [[3, colours.paper], [1, colours.ink]]) {
      surface.line(GUTTER, y + h / 2, x, y + h / 2, colour, width);
      surface.line(middle, y + h, middle, surface.height, colour, width);
      context.lineWidth = width;
      context.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    }
  }
}
