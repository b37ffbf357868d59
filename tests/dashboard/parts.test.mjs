// The parts of the dashboard that are numbers only: buckets, units, where the graph lies, the shown stretch of time, words.
//
// Run by `npm test`. The modules that say something ask the browser for its language: here it is English.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

globalThis.localStorage = { getItem: () => null };
Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-GB' }, configurable: true });

const { BUCKETS, decades, lower, place, upper } = await import('../../src/dashboard/buckets.js');
const { bytes, rate, share, short, span, time, whole } = await import('../../src/dashboard/units.js');
const { layOut } = await import('../../src/dashboard/layout.js');
const { KEPT, View, ticks } = await import('../../src/dashboard/view.js');
const { colourOf } = await import('../../src/dashboard/palette.js');
const { TOPOLOGY } = await import('./fake.mjs');
const en = (await import('../../src/dashboard/en.js')).default;
const zh = (await import('../../src/dashboard/zh.js')).default;

test('buckets follow on each other, four to a doubling', () => {
  assert.equal(lower(0), 0);
  assert.equal(upper(0), 1279);
  assert.equal(upper(107), 8 * 2 ** 34 - 1);
  for (let bucket = 1; bucket < BUCKETS; bucket++) {
    assert.equal(lower(bucket), upper(bucket - 1) + 1);
    assert.ok(Math.abs(place(lower(bucket)) - bucket) < 1e-9, `${bucket}`);
    if (bucket >= 4) assert.equal(upper(bucket) + 1, 2 * (upper(bucket - 4) + 1));
  }
  assert.deepEqual(decades(30).map(([, ns]) => ns), [1e3, 1e4, 1e5]);
});

test('numbers have at most three digits that count, and never a thousand of a unit', () => {
  assert.deepEqual([0, 1, 9.96, 99.96, 999.6, 1e6, 54321].map(short), ['0', '1', '10', '100', '1k', '1M', '54.3k']);
  assert.deepEqual([950, 1500, 12345, 999_999, 3.2e9, 1.2e11].map(time), ['950 ns', '1.5 µs', '12.3 µs', '1 ms', '3.2 s', '120 s']);
  assert.deepEqual([0, 1023, 1024, 5.5 * 2 ** 30].map(bytes), ['0 B', '1023 B', '1 KiB', '5.5 GiB']);
  assert.deepEqual([0, 0.001, 0.426, 1].map(share), ['0%', '<1%', '43%', '100%']);
  assert.deepEqual([rate(null), time(undefined), whole(1234567)], ['–', '–', '1,234,567']);
  assert.deepEqual([span(900), span(60), span(45)], ['15 min', '60 s', '45 s']);
});

const overlap = (one, other) => one.x < other.x + other.w && other.x < one.x + one.w && one.y < other.y + other.h && other.y < one.y + one.h;

test('no stage of a graph lies on another one or outside, whichever way it runs', () => {
  const common = { ...TOPOLOGY, stages: [...TOPOLOGY.stages, { name: 'read2', module: 'read', to: {} }, { name: 'route2', module: 'route', to: { durable: 'persist', transient: 'none' } }].map((stage) => (stage.name === 'authenticate' ? { ...stage, to: { next: 'route', other: 'route2' } } : stage)) };
  for (const topology of [TOPOLOGY, common]) {
    for (const upright of [false, true]) {
      const { boxes, ends, edges, width, height } = layOut(topology, { width: upright ? 330 : 1200, upright, box: { w: 140, h: 160 }, gap: { along: 30, across: 40, lift: 12 } });
      const all = [...boxes.values(), ends.in, ends.out];
      assert.equal(boxes.size, topology.stages.length);
      for (const [at, box] of all.entries()) {
        assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.w <= width + 0.01 && box.y + box.h <= height + 0.01, JSON.stringify(box));
        for (const other of all.slice(at + 1)) assert.ok(!overlap(box, other), JSON.stringify([box, other]));
      }
      const outputs = topology.stages.flatMap(({ to }) => Object.values(to)).filter((next) => next !== 'none').length;
      assert.ok(edges.length >= outputs + 2, 'and both ends');
      for (const { d } of edges) assert.doesNotMatch(d, /NaN|undefined/);
    }
  }
});

test('the stretch shown follows the newest second, or stays until it is no longer kept', () => {
  const view = new View();
  view.advance(10_000);
  assert.deepEqual([view.from, view.to, view.isWhole], [10_001 - KEPT, 10_001, true]);
  view.nearer();
  assert.deepEqual([view.span, view.isLive], [600, true]);
  view.show(9_900, 9_960);
  view.advance(10_010);
  assert.deepEqual([view.from, view.to, view.isLive], [9_900, 9_961, false]);
  view.advance(10_900);
  assert.equal(view.from >= 10_900 - KEPT, true);
  view.farther();
  view.farther();
  view.farther();
  view.farther();
  assert.equal(view.span, KEPT);
  assert.equal(view.isWhole, true);
  view.show(10_890, 10_900);
  assert.equal(view.isLive, true, 'what ends with the newest goes on with it');
  view.nearer(10_500);
  assert.ok(view.from <= 10_500 && 10_500 < view.to);
});

test('an axis has round times that do not touch', () => {
  for (const [from, to, pixels] of [[1_000_003, 1_000_903, 500], [1_000_003, 1_000_033, 500], [1_000_003, 1_000_903, 250]]) {
    const { apart, all } = ticks(from, to, pixels);
    assert.ok(all.length >= 2 && (apart / (to - from)) * pixels >= 60, `${apart}`);
    assert.ok(all.every((at) => at % apart === 0 && at >= from && at < to));
  }
});

test('the palette goes one way in lightness, in both themes', () => {
  const lightness = ([r, g, b]) => 0.2126 * (r / 255) ** 2.2 + 0.7152 * (g / 255) ** 2.2 + 0.0722 * (b / 255) ** 2.2;
  for (const dark of [false, true]) {
    for (let step = 1; step <= 64; step++) {
      const [before, now] = [(step - 1) / 64, step / 64].map((part) => lightness(colourOf(part, dark)));
      assert.ok(dark ? now > before : now < before, `${step}, ${dark}`);
    }
  }
});

test('both languages say the same things, and all that the page asks for', () => {
  assert.deepEqual(Object.keys(zh), Object.keys(en));
  for (const [key, words] of Object.entries(en)) {
    const places = (words) => [...new Set(words.match(/\{\d\}/g))].sort();
    assert.deepEqual(places(zh[key]), places(words), key);
  }
  const folder = new URL('../../src/dashboard/', import.meta.url);
  const source = readdirSync(folder).filter((name) => /\.(js|html)$/.test(name)).map((name) => readFileSync(new URL(name, folder), 'utf8')).join('\n');
  for (const [, key] of source.matchAll(/(?:\bsay\('|data-say="|data-label=")(\w+)['"]/g)) assert.ok(key in en, `${key} has no words`);
});
