// The page: makes its parts and tells each what the others did.
//
// Owns which stage is chosen. Nothing is drawn more than once a second, but for what somebody does.

import { Alerts } from './alerts.js';
import { Changes } from './changes.js';
import { Days } from './days.js';
import { Feed } from './feed.js';
import { Figures } from './figures.js';
import { Graph } from './graph.js';
import { Headline } from './headline.js';
import { Journeys } from './journeys.js';
import { Lines } from './lines.js';
import { Maps } from './maps.js';
import { Status } from './status.js';
import { Surface, drawAxis } from './canvas.js';
import { Table } from './table.js';
import { Tune } from './tune.js';
import { View } from './view.js';
import { css } from './palette.js';
import { fillHelp, listen } from './help.js';
import { fillIn, language, say, speak } from './words.js';
import { get } from './ask.js';
import { clock, span } from './units.js';
import { put, the } from './make.js';
import { theme } from './theme.js';

fillIn(document);
the('logo').src = the('icon').href;
put(the('language'), say('otherLanguage'));
fillHelp(the('help'));

const feed = new Feed();
const view = new View();
new Status(the('state'), the('trouble'), feed);

// The stages are known from the topology, which is there as soon as the server is.
feed.addEventListener('filled', begin, { once: true });
feed.connect();

async function begin() {
  let topology;
  try {
    topology = await get('topology');
  } catch {
    feed.addEventListener('second', begin, { once: true });
    return;
  }
  start(topology);
}

/** What a graph is drawn by; which pool serves a stage may change while it runs. */
const shape = ({ name, module, to }) => [name, module, to];

function start(topology) {
  document.querySelector('main').hidden = false;
  const names = topology.stages.map(({ name }) => name);
  const graph = new Graph(the('graph'));
  const maps = new Maps(the('maps'), view, feed);
  const lines = new Lines(the('latency'), the('rate'), the('curves'), drawTime);
  const axes = [...document.querySelectorAll('canvas.axis')].map((canvas) => new Surface(canvas, drawTime));
  // The axis stands above the controls, wherever the page is.
  new ResizeObserver(() => document.body.style.setProperty('--tune', `${the('tune').offsetHeight}px`)).observe(the('tune'));
  const alerts = new Alerts(the('alerts'));
  const headline = new Headline(the('headline'));
  const figures = new Figures(the('figures'));
  const table = new Table(the('table'), topology);
  const journeys = new Journeys(the('journeys'));
  const tune = new Tune(the('tune'), names);
  const changes = new Changes(document.querySelector('#changes tbody'), the('no-changes'), document.querySelectorAll('.undo'), the('save'));
  const days = new Days(document.querySelector('#days table'), the('no-days'));
  graph.topology = topology;
  maps.stages = names;

  let chosen = null;
  let settings = '';
  let busyAt = -Infinity;

  function choose(name) {
    if (!names.includes(name)) return;
    chosen = name;
    graph.choose(name);
    maps.choose(name);
    tune.choose(name, feed.newest.stages.find((stage) => stage.name === name));
  }

  function drawTime() {
    lines.draw(feed.seconds, view, changes.marks);
    for (const axis of axes) drawAxis(axis, view, changes.marks);
    put(the('range'), view.isLive ? say('newest', span(view.span)) : say('stretch', clock(view.from), clock(view.to - 1)));
    the('whole').disabled = view.isWhole;
    the('legend').querySelector('i').style.background = `linear-gradient(to right in oklab, ${[0, 0.25, 0.5, 0.75, 1].map((part) => css(part, theme.isDark)).join(',')})`;
  }

  function redraw() {
    maps.marks = changes.marks;
    maps.draw();
    drawTime();
  }

  const isBusy = ({ stages, delivery }) => delivery.rate > 0 || stages.some(({ rate }) => rate > 0);

  function filled() {
    const { newest } = feed;
    if (!newest) return;
    view.advance(newest.t);
    busyAt = feed.seconds.findLast(isBusy)?.t ?? -Infinity;
    maps.fill(feed.seconds);
    show(newest);
  }

  function show(second) {
    view.advance(second.t);
    if (isBusy(second)) busyAt = second.t;
    // Somebody else changed something: the list has it.
    const now = JSON.stringify(second.stages.map(({ name, pool, workers, batch, auto, bound, policy, delay_target_ms: target }) => [name, pool, workers, batch, auto, bound, policy, target]));
    if (settings && settings !== now) changes.refresh();
    settings = now;
    if (document.hidden) return maps.keep(second);
    alerts.show(second);
    headline.show(second, busyAt >= view.newest - 900);
    figures.show(second);
    graph.show(second);
    table.show(second);
    maps.show(second);
    lines.describe(second);
    drawTime();
    if (!chosen) choose(second.bottleneck?.stage ?? names[0]);
  }

  feed.addEventListener('second', ({ second }) => show(second));
  feed.addEventListener('filled', filled);
  // After a restart the list is another one, and the graph may be.
  feed.addEventListener('filled', async () => {
    changes.refresh();
    days.refresh();
    const now = await get('topology').catch(() => topology);
    if (JSON.stringify(now.stages.map(shape)) !== JSON.stringify(topology.stages.map(shape))) location.reload();
  });
  view.addEventListener('change', drawTime);
  theme.addEventListener('change', drawTime);
  changes.addEventListener('change', redraw);
  changes.addEventListener('change', () => chosen && tune.refresh());
  new ResizeObserver(drawTime).observe(the('time'));
  document.addEventListener('visibilitychange', () => !document.hidden && feed.newest && show(feed.newest));

  for (const part of [graph, maps, headline, tune]) part.addEventListener('choose', ({ name }) => choose(name));
  headline.addEventListener('choose', tuneIt);
  maps.addEventListener('cell', (cell) => {
    choose(cell.stage);
    journeys.open(cell);
  });
  maps.addEventListener('aim', ({ aloud }) => {
    put(the('aim'), maps.aimed || say('aimNothing'));
    if (aloud) put(the('aloud'), maps.aimed);
  });
  tune.addEventListener('changed', () => changes.refresh());
  changes.addEventListener('told', ({ words, failed }) => {
    put(the('told'), words);
    tune.say(words, failed ? 'bad' : 'good');
  });

  function unfold(open) {
    the('tune').classList.toggle('folded', !open);
    the('fold').setAttribute('aria-expanded', String(open));
  }
  function tuneIt() {
    unfold(true);
    tune.focus();
  }
  the('fold').onclick = () => unfold(the('tune').classList.contains('folded'));
  unfold(matchMedia('(min-width: 60rem)').matches);
  the('nearer').onclick = () => view.nearer();
  the('farther').onclick = () => view.farther();
  the('whole').onclick = () => view.whole();
  the('help-button').onclick = () => the('help').showModal();
  the('theme').onclick = () => theme.turn();
  the('language').onclick = () => speak(language === 'zh' ? 'en' : 'zh');

  const step = (by) => choose(names[(names.indexOf(chosen) + by + names.length) % names.length]);
  listen({
    '?': () => the('help').showModal(),
    stage: (key) => choose(names[Number(key) - 1]),
    '[': () => step(-1),
    ']': () => step(1),
    t: tuneIt,
    u: () => changes.undo(),
    m: () => maps.focus(chosen),
    c: () => the('changes').focus(),
    d: () => theme.turn(),
    l: () => the('language').click(),
    '+': () => view.nearer(),
    '=': () => view.nearer(),
    '-': () => view.farther(),
    0: () => view.whole(),
    Escape: () => view.whole(),
  });

  put(the('aim'), say('aimNothing'));
  filled();
  changes.refresh();
  days.refresh();
}
