// A message's journey through the stages, looked up and drawn as one bar.
//
// Owns the lookup at /dev/journeys/ID and the drawing: for each stage a hatched part for waiting and a solid one for
// work, and the same in a table that a key opens. It knows no conversations.

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
  let found = 0;
  for (let tries = 0; tries < TRIES; tries++) {
    await new Promise((resume) => setTimeout(resume, APART_MS));
    const journey = await ask(id);
    // The last stages may come after the first look: done when a second one finds no more.
    if (journey && journey.stages.length === found) return;
    if (journey) draw(cell, journey);
    found = journey?.stages.length ?? found;
  }
  if (!found) unknown(cell);
}

// History is asked from its newest message back, and no more once the journeys kept have clearly ended.
const older = [];
const MISSES = 3;

/** Fills the elements made for messages of history since the last call. */
export async function lookUpHistory() {
  let misses = 0;
  for (const { cell, id } of older.splice(0).reverse()) {
    const journey = misses < MISSES ? await ask(id) : null;
    misses = journey ? 0 : misses + 1;
    if (journey) draw(cell, journey);
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

function draw(cell, { stages, total_us: total }) {
  const spans = stages.map((stage) => {
    const works = stage.queued_us + stage.wait_us;
    return { ...stage, works, ends: works + stage.service_us };
  }).sort((a, b) => a.queued_us - b.queued_us);

  // What works beside another stage goes to a row of its own. Waiting may begin before the batch it came from ends.
  const rowEnds = [];
  const place = scale(spans.flatMap((span) => [span.queued_us, span.works, span.ends]));
  const table = tableOf(spans);
  table.hidden = true;
  const bar = make('button', { className: 'bar', ariaExpanded: false });
  bar.ariaLabel = say('journey', time(total), spans.map(told).join('; '));
  bar.onclick = () => {
    table.hidden = !table.hidden;
    bar.ariaExpanded = !table.hidden;
    table.scrollIntoView({ block: 'nearest' });
  };
  for (const span of spans) {
    let row = rowEnds.findIndex((end) => end <= span.works);
    if (row < 0) row = rowEnds.length;
    rowEnds[row] = span.ends;
    const part = (className, from, to) => {
      const element = colour(make('i', { className, title: told(span) }), span);
      element.style.cssText = `left:${100 * place(from)}%;width:${100 * (place(to) - place(from))}%;top:calc(${row} * var(--lane))`;
      return element;
    };
    bar.append(part('wait', span.queued_us, span.works), part('work', span.works, span.ends));
  }
  bar.style.setProperty('--lanes', rowEnds.length);

  const longest = spans.map((span) => ({ ...span, took: span.ends - span.queued_us })).sort((a, b) => b.took - a.took);
  const named = longest.slice(0, NAMED).map((span) => make('span', {}, swatch(span), ` ${time(span.took)}`));
  cell.replaceChildren(bar, make('p', { className: 'caption' }, make('b', {}, time(total)), ...named), table);
}

/** Times to shares of the width: in proportion, but no step between two marks so small that it is not seen. */
function scale(times) {
  const marks = [...new Set(times)].sort((a, b) => a - b);
  const length = marks.at(-1) - marks[0];
  const spread = 1 - LEAST_SHARE * (marks.length - 1);
  return (t) => LEAST_SHARE * marks.indexOf(t) + spread * (t - marks[0]) / (length || 1);
}

function tableOf(spans) {
  const row = (kind, name, ...cells) => make('tr', {}, make('th', {}, name), ...cells.map((cell) => make(kind, {}, cell)));
  return make('table', {},
    row('th', ...['stage', 'waited', 'worked', 'batch'].map((word) => say(word))),
    ...spans.map((span) => row('td', swatch(span), time(span.wait_us), time(span.service_us), span.batch)));
}

const swatch = (span) => make('span', {}, colour(make('i', { className: 'work' }), span), ` ${span.stage}`);
const told = (span) => say('took', span.stage, time(span.wait_us), time(span.service_us));

function colour(element, { stage }) {
  element.dataset.stage = stage;
  return element;
}

function time(us) {
  if (us < 1_000) return `${Math.round(us)} µs`;
  return us < 1_000_000 ? `${(us / 1_000).toPrecision(3)} ms` : `${(us / 1_000_000).toFixed(2)} s`;
}
