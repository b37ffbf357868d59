// A message's journey through the stages, looked up and drawn as one bar.
//
// Owns the lookup and the drawing: for each stage a hatched part for waiting and a solid one for work, and a table of the
// same. It knows no conversations.

import { make } from './make.js';
import { say } from './words.js';

const TRIES = 6;
const APART_MS = 150;
// A stage of microseconds is seen beside one that waits for a disk.
const LEAST_SHARE = 0.012;
const NAMED = 3;

/** An element that fills itself with the journey of this message: at once for a live one, else when it is looked at. */
export function journeyOf(id, live) {
  const cell = make('div', { className: 'journey', id });
  if (live) follow(cell, TRIES);
  else looked.observe(cell);
  return cell;
}

const looked = new IntersectionObserver((cells) => {
  for (const { isIntersecting, target } of cells) {
    if (!isIntersecting) continue;
    looked.unobserve(target);
    follow(target, 1);
  }
});

async function follow(cell, tries) {
  let found = 0;
  for (; tries; tries--) {
    await new Promise((resume) => setTimeout(resume, APART_MS));
    const answer = await fetch(`/dev/journeys/${cell.id}`).catch(() => null);
    if (!answer?.ok) continue;
    const journey = await answer.json();
    // The last stages may come after the first look: done when a second one finds no more.
    if (journey.stages.length === found) return;
    draw(cell, journey);
    found = journey.stages.length;
  }
  if (!found) cell.replaceChildren(make('p', {}, say('notSampled')));
}

function draw(cell, { stages, total_us: total }) {
  const spans = stages.map((stage) => {
    const works = stage.queued_us + stage.wait_us;
    return { ...stage, works, ends: works + stage.service_us, took: stage.wait_us + stage.service_us };
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
    // Work lies over waiting.
    bar.prepend(part('wait', span.queued_us, span.works));
    bar.append(part('work', span.works, span.ends));
  }
  bar.style.setProperty('--lanes', rowEnds.length);

  const longest = [...spans].sort((a, b) => b.took - a.took).slice(0, NAMED);
  const named = longest.map((span) => make('span', {}, swatch(span), ` ${time(span.took)}`));
  cell.replaceChildren(bar, make('p', { className: 'caption' }, make('b', {}, time(total)), ...named), table);
}

/** Times to shares of the width: in proportion, but for steps too small to be seen. */
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
