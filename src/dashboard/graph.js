// The pipeline as its graph, live: what each stage does, and which edges push back.
//
// Owns the SVG. A stage is a button: Enter or a click chooses it (event `choose`, with its name). Where an edge pushes back
// it is thick and striped, says how much of the time, and the stage before it says so in words.

import { draw, put } from './make.js';
import { layOut } from './layout.js';
import { rate, share, short, time, whole } from './units.js';
import { say } from './words.js';

/** Below this width the line runs from top to bottom. */
const WIDE = 1060;
const BOX_HEIGHT = 163;
/** Less than this share of the time is a hiccup. */
const HELD_UP = 0.02;
const PAD = 10;

export class Graph extends EventTarget {
  #root;
  #topology = null;
  #nodes = new Map();
  #edges = [];
  #ends = {};
  #width = 0;
  #chosen = null;
  #last = null;

  constructor(root) {
    super();
    this.#root = root;
    new ResizeObserver(() => this.#fit()).observe(root);
  }

  set topology(topology) {
    this.#topology = topology;
    this.#width = 0;
    this.#fit();
  }

  choose(name) {
    this.#chosen = name;
    for (const [of, { group }] of this.#nodes) group.setAttribute('aria-pressed', of === name);
  }

  #fit() {
    const width = Math.floor(this.#root.clientWidth);
    if (!this.#topology || width === this.#width || width === 0) return;
    this.#width = width;
    this.#build(width);
    this.choose(this.#chosen);
    if (this.#last) this.show(this.#last);
  }

  #build(width) {
    const upright = width < WIDE;
    const narrow = width < 480;
    const gap = upright ? { along: 30, across: narrow ? 22 : 48, lift: narrow ? 7 : 16 } : { along: 34, across: 46, lift: 16 };
    const w = upright ? Math.min(300, Math.floor((width - gap.across - 2 * gap.lift - 12) / 2)) : Math.min(176, Math.floor((width - 74 - 6 * 38) / 6));
    const { boxes, ends, edges, width: wide, height } = layOut(this.#topology, { width, upright, box: { w, h: BOX_HEIGHT }, gap });
    // Upright, the lifts on both sides are part of it: it stands in the middle.
    const left = Math.max(0, (width - wide) / 2);
    const svg = draw('svg', { viewBox: `${-left} ${upright ? -2 : 0} ${Math.max(width, wide)} ${height + 4}`, width: Math.max(width, wide), height: height + 4, class: narrow ? 'narrow' : '', role: 'group', 'aria-label': say('graph') });
    this.#edges = edges.map((edge) => this.#edge(svg, edge));
    this.#ends = { in: this.#end(svg, ends.in, 'connections'), out: this.#end(svg, ends.out, 'mailbox') };
    this.#nodes = new Map(this.#topology.stages.map(({ name }) => [name, this.#node(svg, name, boxes.get(name))]));
    const focused = this.#root.contains(document.activeElement) ? document.activeElement.dataset.stage : null;
    this.#root.replaceChildren(svg);
    if (focused) this.#nodes.get(focused)?.group.focus();
  }

  #edge(svg, { from, to, output, asks, d, arrow, label }) {
    const words = draw('text', { class: 'label', x: label.x + (label.beside ? 7 : 0), y: label.y + (label.beside ? 4 : -9), 'text-anchor': label.beside ? 'start' : 'middle' });
    const title = draw('title');
    const group = draw('g', { class: `edge${asks ? ' asks' : ''}` }, title, draw('path', { class: 'band', d }), draw('path', { class: 'wire', d }), draw('path', { class: 'tip', d: arrow }), words);
    svg.append(group);
    return { from, to, output, asks, group, words, title };
  }

  #end(svg, { x, y, w, h }, key) {
    const flat = h < 50;
    const middle = x + w / 2;
    const name = draw('text', { class: 'soft', x: flat ? x + PAD : middle, y: flat ? y + 24 : y + 22, 'text-anchor': flat ? 'start' : 'middle' }, say('clients'));
    const value = draw('text', { class: 'number', x: flat ? x + w - PAD : middle, y: flat ? y + 24 : y + 43, 'text-anchor': flat ? 'end' : 'middle' });
    const title = draw('title');
    svg.append(draw('g', { class: 'end' }, title, draw('rect', { x, y, width: w, height: h, rx: h / 2 > 20 ? 20 : h / 2 }), name, value));
    return { value, title, key };
  }

  #node(svg, name, { x, y, w, h }) {
    const right = w - PAD;
    const text = (cls, at, line, anchor = 'start', words = '') => draw('text', { class: cls, x: at, y: line, 'text-anchor': anchor }, words);
    const label = (key, line) => text('soft', PAD, line, 'start', say(key));
    const bar = (line) => {
      const rect = (cls, width) => draw('rect', { class: cls, x: PAD, y: line, width, height: 5, rx: 2.5 });
      return { length: right - PAD, track: rect('track', right - PAD), fill: rect('fill', 0) };
    };
    const parts = {
      workers: text('soft', right, 22, 'end'),
      rate: text('rate', PAD, 46),
      busyShare: text('number', right, 66, 'end'),
      busy: bar(72),
      depth: text('number', right, 91, 'end'),
      queue: bar(97),
      wait: text('number', right, 119, 'end'),
      service: text('number', right, 136, 'end'),
      held: text('held', PAD, 154),
      // On the card's edge, where no number comes.
      flag: text('flag', right, 4, 'end'),
      title: draw('title'),
    };
    const group = draw(
      'g',
      { class: 'node', transform: `translate(${x} ${y})`, tabindex: 0, role: 'button', 'data-stage': name },
      parts.title,
      draw('rect', { class: 'card', width: w, height: h, rx: 10 }),
      text('name', PAD, 22, 'start', name), parts.workers, parts.rate,
      label('busy', 66), parts.busyShare, parts.busy.track, parts.busy.fill,
      label('queue', 91), parts.depth, parts.queue.track, parts.queue.fill,
      label('waitP99', 119), parts.wait,
      label('serviceP99', 136), parts.service,
      parts.held, parts.flag,
    );
    group.onclick = () => this.#choose(name);
    group.onkeydown = (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      this.#choose(name);
    };
    svg.append(group);
    return { group, length: right - PAD, ...parts };
  }

  #choose(name) {
    this.dispatchEvent(Object.assign(new Event('choose'), { name }));
  }

  /** Once a second. */
  show(second) {
    this.#last = second;
    const by = new Map(second.stages.map((stage) => [stage.name, stage]));
    for (const stage of second.stages) this.#showStage(stage, second.bottleneck?.stage === stage.name);
    for (const edge of this.#edges) this.#showEdge(edge, by.get(edge.from));
    if (!this.#ends.in) return;
    put(this.#ends.in.value, short(second.connections));
    put(this.#ends.in.title, say('connectionsNow', whole(second.connections)));
    put(this.#ends.out.value, rate(second.delivery.rate));
    put(this.#ends.out.title, say('deliveredNow', rate(second.delivery.rate), whole(second.mailbox)));
  }

  #showStage(stage, isBottleneck) {
    const node = this.#nodes.get(stage.name);
    if (!node) return;
    const held = stage.blocked?.share >= HELD_UP ? say('heldUp', share(stage.blocked.share), targetOf(stage, this.#topology)) : '';
    const of = say('of', short(stage.depth), short(stage.bound));
    put(node.workers, `×${stage.workers}${stage.auto?.workers ? ` ${say('auto')}` : ''}`);
    put(node.rate, rate(stage.rate));
    put(node.busyShare, share(stage.utilisation));
    put(node.depth, of);
    put(node.wait, time(stage.wait?.p99_ns));
    put(node.service, time(stage.service?.p99_ns));
    fit(node.held, held, node.length);
    put(node.flag, isBottleneck ? say('bottleneck') : '');
    fill(node.busy, stage.utilisation);
    fill(node.queue, stage.depth / stage.bound);
    node.busy.fill.classList.toggle('high', stage.utilisation >= 0.9);
    node.queue.fill.classList.toggle('high', stage.depth / stage.bound >= 0.9);
    node.group.classList.toggle('bottleneck', isBottleneck);
    const told = say('stageNow', stage.name, rate(stage.rate), share(stage.utilisation), whole(stage.depth), whole(stage.bound), time(stage.wait?.p99_ns), time(stage.service?.p99_ns), stage.workers);
    put(node.title, [isBottleneck ? say('bottleneck') : '', told, held].filter(Boolean).join('. '));
  }

  #showEdge({ from, to, output, asks, group, words, title }, stage) {
    const pushes = Boolean(stage) && stage.blocked?.share >= HELD_UP && isBy(stage.blocked.by, to, output);
    group.classList.toggle('pushes', pushes);
    put(words, pushes ? share(stage.blocked.share) : '');
    const name = (end) => end ?? say('clients');
    put(title, pushes ? say('pushesBack', name(to), name(from), share(stage.blocked.share)) : say(asks ? 'asks' : 'feeds', name(from), name(to), output));
  }
}

/** The server names who had no room by the output or by the stage behind it. */
const isBy = (by, to, output) => by === output || (to !== null && by === to);

function targetOf({ name, blocked }, topology) {
  const to = topology.stages.find((stage) => stage.name === name)?.to ?? {};
  const target = to[blocked.by] ?? blocked.by;
  return !target || target === 'net' ? say('clients') : target;
}

function fill({ fill: bar, length }, part) {
  const width = String(Math.round(Math.min(1, Math.max(0, part || 0)) * length * 2) / 2);
  if (bar.getAttribute('width') !== width) bar.setAttribute('width', width);
}

/** Words that are as long as their place at most: a long name is set closer. */
function fit(text, words, length) {
  if (text.textContent === words) return;
  text.textContent = words;
  text.removeAttribute('textLength');
  if (text.getComputedTextLength() > length) text.setAttribute('textLength', length);
}
