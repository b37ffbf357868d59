// A message's journey through the stages, looked up and drawn as one bar.
//
// Owns the lookup at /dev/journeys/ID and the drawing: for each stage a hatched part for waiting and a solid one for
// work, the same in a table that a key opens. It knows no conversations.

import { make } from './make.js';
import { say } from './words.js';

const TRIES = 6;
const APART_MS = 150;
// So that a stage of microseconds is still seen beside one that waits for a disk.
const LEAST_SHARE = 0.012;
const NAMED = 3;

/** An element that fills itself with the journey of this message. A live message's journey is still being written. */
export function journeyOf(id, live) {
  const cell = make('div', { className: 'journey' });
  if (live) follow(cell, id);
  else older.push({ cell, id });
  return cell;
}

async function follow(cell, id) {
  let stages = 0;
  for (let tries = 0; tries < TRIES; tries++) {
    await new Promise((resume) => setTimeout(resume, APART_MS));
    const journey = await ask(id);
    // The last stages may come after the first look: done when a second one finds no more.
    if (journey && journey.stages.length === stages) return;
    if (journey) draw(cell, journey, id);
    stages = journey?.stages.length ?? stages;
  }
  if (!stages) unknown(cell);
}

// History is asked from its newest message back, and no more once the journeys kept have clearly ended.
const older = [];
const MISSES = 3;

export async function lookUpHistory() {
  let misses = 0;
  for (const { cell, id } of older.splice(0).reverse()) {
    const journey = misses < MISSES ? await ask(id) : null;
    misses = journey ? 0 : misses + 1;
    if (journey) draw(cell, journey, id);
    else unknown(cell);
  }
}

async function ask(id) {
  const answer = await fetch(`/dev/journeys/${encodeURIComponent(id)}`).catch(() => null);
  return answer?.ok ? answer.json() : null;
}

function unknown(cell) {
  cell.replaceChildren(make('p', { className: 'caption', textContent: say('notSampled') }));
}

function draw(cell, { stages, total_us: total }, id) {
  const open = cell.querySelector('.bar')?.getAttribute('aria-expanded') === 'true';
  const spans = stages.map((stage) => {
    const works = stage.queued_us + stage.wait_us;
    return { ...stage, works, ends: works + stage.service_us, lane: 0 };
  }).sort((a, b) => a.queued_us - b.queued_us);

  // What runs beside another stage goes to a row of its own, on the same scale. Times are rounded: 1 µs is no overlap.
  const free = [];
  for (const span of spans) {
    span.lane = free.findIndex((end) => end <= span.queued_us + 1);
    if (span.lane < 0) span.lane = free.length;
    free[span.lane] = span.ends;
  }

  const place = scale(spans.flatMap((span) => [span.queued_us, span.works, span.ends]));
  const bar = make('button', { type: 'button', className: 'bar' });
  bar.style.setProperty('--lanes', free.length);
  for (const span of spans) {
    bar.append(part(span, 'wait', span.queued_us, span.works, place), part(span, 'work', span.works, span.ends, place));
  }
  bar.setAttribute('aria-label', say('journeyIs', time(total), spans.map(told).join('; ')));

  const table = tableOf(spans);
  table.id = `journey-${id}`;
  table.hidden = !open;
  bar.setAttribute('aria-expanded', open);
  bar.setAttribute('aria-controls', table.id);
  bar.onclick = () => {
    table.hidden = !table.hidden;
    bar.setAttribute('aria-expanded', !table.hidden);
    table.scrollIntoView({ block: 'nearest' });
  };

  const caption = make('p', { className: 'caption' }, make('b', { textContent: time(total) }));
  const longest = [...spans].sort((a, b) => b.ends - b.queued_us - (a.ends - a.queued_us)).slice(0, NAMED);
  for (const { stage, queued_us: from, ends } of longest) caption.append(swatch(stage, ` ${stage} ${time(ends - from)}`));
  const focused = cell.contains(document.activeElement);
  cell.replaceChildren(bar, caption, table);
  if (focused) bar.focus();
}

/** Times to shares of the width: in proportion, but no step between two marks so small that it is not seen. */
function scale(times) {
  const marks = [...new Set(times)].sort((a, b) => a - b);
  const length = marks.at(-1) - marks[0];
  const spread = 1 - LEAST_SHARE * (marks.length - 1);
  return (t) => LEAST_SHARE * marks.indexOf(t) + (length && spread * (t - marks[0]) / length);
}

function part(span, kind, from, to, place) {
  const element = make('i', { className: kind, title: told(span) });
  element.dataset.stage = span.stage;
  element.style.cssText = `left:${100 * place(from)}%;width:${100 * (place(to) - place(from))}%;top:calc(${span.lane} * var(--lane))`;
  return element;
}

function tableOf(spans) {
  const head = ['stage', 'waited', 'worked', 'batch'].map((word) => make('th', { scope: 'col', textContent: say(word) }));
  const rows = spans.map(({ stage, wait_us: wait, service_us: service, batch }) => make('tr', {},
    make('th', { scope: 'row' }, swatch(stage, ` ${stage}`)),
    ...[time(wait), time(service), String(batch)].map((textContent) => make('td', { textContent }))));
  return make('table', {}, make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows));
}

function swatch(stage, text) {
  const mark = make('i', { className: 'key work' });
  mark.dataset.stage = stage;
  return make('span', {}, mark, text);
}

const told = ({ stage, wait_us: wait, service_us: service }) => say('stageTook', stage, time(wait), time(service));

export function time(us) {
  if (us < 1_000) return `${Math.round(us)} µs`;
  if (us < 1_000_000) return `${(us / 1_000).toPrecision(3)} ms`;
  return `${(us / 1_000_000).toFixed(2)} s`;
}
