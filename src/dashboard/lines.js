// End to end over time: the percentiles of what was delivered, and how much was.
//
// Owns the two canvases. Percentiles are on a logarithmic axis and told apart by their strokes.

import { GUTTER, Surface } from './canvas.js';
import { draw, make } from './make.js';
import { rate, time } from './units.js';
import { say } from './words.js';

const CURVES = [
  { key: 'p999_ms', name: 'p99.9', width: 1.25, dash: [2, 3] },
  { key: 'p99_ms', name: 'p99', width: 2.25, dash: [] },
  { key: 'p50_ms', name: 'p50', width: 1.25, dash: [] },
];

export class Lines {
  #latency;
  #rate;

  /** `legend`: where the curves are named; `appear`: called when they come into sight. */
  constructor(latency, rate, legend, appear) {
    this.#latency = new Surface(latency, appear);
    this.#rate = new Surface(rate, appear);
    for (const { name, width, dash } of CURVES.toReversed()) {
      const stroke = draw('svg', { width: 22, height: 8, 'aria-hidden': true }, draw('path', { d: 'M0 4H22', 'stroke-width': width, 'stroke-dasharray': dash.join(' ') }));
      legend.append(' ', make('span', { className: 'curve' }, stroke, ` ${name}`));
    }
  }

  draw(seconds, view, marks) {
    const shown = seconds.filter(({ t }) => t >= view.from && t < view.to);
    this.#drawLatency(shown, view, marks);
    this.#drawRate(shown, view, marks);
  }

  #drawLatency(shown, view, marks) {
    const surface = this.#latency;
    if (!surface.begin()) return;
    surface.grid(view);
    const all = shown.flatMap(({ delivery }) => CURVES.map(({ key }) => delivery[key])).filter((value) => value > 0);
    const low = Math.log10(Math.min(0.1, ...all)) - 0.1;
    const high = Math.log10(Math.max(10, ...all)) + 0.1;
    const y = (ms) => 5 + (surface.height - 10) * (1 - (Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low));
    const each = Math.max(1, Math.ceil((16 * (high - low)) / surface.height));
    for (let power = Math.ceil(low); power <= high; power += each) {
      surface.line(GUTTER - 4, y(10 ** power), surface.width, y(10 ** power), surface.colours.line);
      surface.text(time(10 ** power * 1e6), GUTTER - 7, y(10 ** power), surface.colours.soft, 'right');
    }
    for (const curve of CURVES) {
      const points = shown.map(({ t, delivery }) => [t, delivery[curve.key]]);
      trace(surface, view, points, y, curve.key === 'p99_ms' ? surface.colours.ink : surface.colours.soft, curve);
    }
    surface.marks(marks, view);
  }

  #drawRate(shown, view, marks) {
    const surface = this.#rate;
    if (!surface.begin()) return;
    surface.grid(view);
    const most = nice(Math.max(1, ...shown.map(({ delivery }) => delivery.rate)));
    const y = (value) => 6 + (surface.height - 7) * (1 - value / most);
    for (const part of [0, 0.5, 1]) {
      surface.line(GUTTER - 4, y(most * part), surface.width, y(most * part), surface.colours.line);
      surface.text(rate(most * part), GUTTER - 7, Math.min(surface.height - 6, y(most * part)), surface.colours.soft, 'right');
    }
    trace(surface, view, shown.map(({ t, delivery }) => [t, delivery.rate]), y, surface.colours.ink, { width: 1.75, dash: [], filled: true });
    surface.marks(marks, view);
  }

  /** What the pictures show, in a sentence each. */
  describe(second) {
    const { rate: delivered, p50_ms: p50, p99_ms: p99, p999_ms: p999 } = second.delivery;
    const spoken = (ms) => time(ms == null ? null : ms * 1e6);
    this.#latency.canvas.setAttribute('aria-label', say('latencyNow', spoken(p50), spoken(p99), spoken(p999)));
    this.#rate.canvas.setAttribute('aria-label', say('rateNow', rate(delivered)));
  }
}

/** A curve that breaks where there is nothing: a line over a gap would be an invention. */
function trace(surface, view, points, y, colour, { width, dash, filled = false }) {
  const { context } = surface;
  const parts = [];
  let before = null;
  for (const [t, value] of points) {
    if (value == null) {
      before = null;
      continue;
    }
    if (before !== t - 1) parts.push([]);
    parts.at(-1).push([surface.x(t + 0.5, view), y(value)]);
    before = t;
  }
  context.save();
  context.beginPath();
  context.rect(GUTTER, 0, surface.width - GUTTER, surface.height);
  context.clip();
  for (const part of parts) {
    context.beginPath();
    // A second alone is a dash, else it would be nothing.
    if (part.length === 1) part.unshift([part[0][0] - 2, part[0][1]]);
    part.forEach(([x, at]) => context.lineTo(x, at));
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    if (!filled) continue;
    context.lineTo(part.at(-1)[0], surface.height);
    context.lineTo(part[0][0], surface.height);
    context.globalAlpha = 0.12;
    context.fillStyle = colour;
    context.fill();
    context.globalAlpha = 1;
  }
  context.restore();
}

/** A round number not below it. */
function nice(most) {
  const unit = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 5, 8, 10].map((step) => step * unit).find((step) => step >= most);
}
