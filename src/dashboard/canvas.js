// What all pictures over time share: a canvas as sharp as the screen, its place for the numbers of the axis, and its colours.

import { clock } from './units.js';
import { ticks } from './view.js';

/** Left of every picture, for the axis of values: so seconds stand under seconds. */
export const GUTTER = 46;

export class Surface {
  /** `appear`: called when it comes into sight; out of sight nothing need be drawn. */
  constructor(canvas, appear = () => {}) {
    this.canvas = canvas;
    this.context = canvas.getContext('2d');
    this.isSeen = true;
    const watch = ([{ isIntersecting }]) => {
      const appears = isIntersecting && !this.isSeen;
      this.isSeen = isIntersecting;
      if (appears) appear();
    };
    new IntersectionObserver(watch, { rootMargin: '300px' }).observe(canvas);
  }

  /** Wipes it, in the size that it has now; `false` where nothing of it would be seen. All is drawn in CSS pixels. */
  begin() {
    const { canvas, context } = this;
    if (!this.isSeen) return false;
    this.width = canvas.clientWidth;
    this.height = canvas.clientHeight;
    if (!this.width || !this.height) return false;
    this.sharp = devicePixelRatio || 1;
    const [w, h] = [Math.round(this.width * this.sharp), Math.round(this.height * this.sharp)];
    if (canvas.width !== w) canvas.width = w;
    if (canvas.height !== h) canvas.height = h;
    context.setTransform(this.sharp, 0, 0, this.sharp, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    // The style sheet's, in the theme that is on: a canvas knows no variables.
    const style = getComputedStyle(canvas);
    this.colours = { ink: style.color, line: style.borderTopColor, mark: style.caretColor, soft: style.columnRuleColor, paper: style.backgroundColor };
    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = 'middle';
    context.lineJoin = 'round';
    return true;
  }

  /** Where a second begins. */
  x(t, view) {
    return GUTTER + ((t - view.from) / view.span) * (this.width - GUTTER);
  }

  /** The second at a place. */
  second(x, view) {
    return Math.min(view.to - 1, Math.max(view.from, Math.floor(view.from + ((x - GUTTER) / (this.width - GUTTER)) * view.span)));
  }

  line(x, y, x2, y2, colour, width = 1, dash = []) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x2, y2);
    context.stroke();
    context.setLineDash([]);
  }

  text(words, x, y, colour, align = 'left', halo = false) {
    const { context } = this;
    context.textAlign = align;
    if (halo) {
      context.strokeStyle = this.colours.paper;
      context.lineWidth = 4;
      context.strokeText(words, x, y);
    }
    context.fillStyle = colour;
    context.fillText(words, x, y);
  }

  /** A line at each round time. */
  grid(view) {
    for (const at of ticks(view.from, view.to, this.width - GUTTER).all) {
      const x = Math.round(this.x(at, view)) + 0.5;
      this.line(x, 0, x, this.height, this.colours.line);
    }
  }

  /** A line where something was changed: `{ t, number }`. */
  marks(marks, view) {
    for (const { t } of marks) {
      if (t < view.from || t >= view.to) continue;
      const x = Math.round(this.x(t, view)) + 0.5;
      this.line(x, 0, x, this.height, this.colours.paper, 3);
      this.line(x, 0, x, this.height, this.colours.mark, 1.5, [4, 3]);
    }
  }
}

/** The axis itself: times, and the numbers of the changes. */
export function drawAxis(surface, view, marks) {
  if (!surface.begin()) return;
  const { colours, width } = surface;
  const { apart, all } = ticks(view.from, view.to, width - GUTTER);
  surface.line(GUTTER, 0.5, width, 0.5, colours.line);
  const flags = [];
  for (const { t, number } of marks) {
    if (t < view.from || t >= view.to) continue;
    const words = `◆ ${number}`;
    const x = Math.min(width - 16, Math.max(GUTTER + 12, surface.x(t, view)));
    // Where two are on one place, the newer one is told; the list has both.
    if (flags.length && x - flags.at(-1)[0] < 28) flags.pop();
    flags.push([x, words]);
  }
  for (const at of all) {
    const x = surface.x(at, view);
    if (x < GUTTER + 14 || x > width - 18) continue;
    surface.text(clock(at, apart % 60 !== 0), x, 12, colours.soft, 'center');
  }
  for (const [x, words] of flags) surface.text(words, x, 27, colours.mark, 'center');
}
