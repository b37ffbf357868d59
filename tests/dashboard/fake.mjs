// A server that is none: the dashboard's files, and made-up seconds in the shape that the admin side tells them, for states
// that a real server is seldom in.
//
//     node tests/dashboard/fake.mjs [--port 7799] [--state busy]
//
// busy: load comes and goes and the bottleneck moves; calm: load that all stages take; empty: nobody sends; huge: numbers at
// the end of their range; odd: two figures are out of the usual; trouble: the disk is full; draining: about to stop. `POST /fake/STATE` goes to another one. What
// is changed over the page changes what the made-up stages can take.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { BUCKETS, lower, upper } from '../../src/dashboard/buckets.js';

const FILES = new URL('../../src/dashboard/', import.meta.url);
const TYPES = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' };
const KEPT = 900;

export const TOPOLOGY = {
  entry: 'decode',
  stages: [
    { name: 'decode', module: 'decode', pool: 'decode', to: { next: 'authenticate' } },
    { name: 'authenticate', module: 'authenticate', pool: 'authenticate', to: { next: 'route' } },
    { name: 'route', module: 'route', pool: 'route', to: { durable: 'persist', transient: 'fan_out', before: 'hook', lookup: 'read' } },
    { name: 'persist', module: 'persist', pool: 'persist', to: { fan_out: 'fan_out', lookup: 'read' } },
    { name: 'fan_out', module: 'fan_out', pool: 'fan_out', to: { offline: 'hook' } },
    { name: 'read', module: 'read', pool: 'read', to: {} },
    { name: 'hook', module: 'hook', pool: 'hook', to: { push: 'push' } },
    { name: 'push', module: 'push', pool: 'push', to: {} },
  ],
  pools: [],
};

// Share of the load that comes to a stage, and what an event and a batch cost it, in microseconds.
const NATURE = {
  decode: { share: 1.9, event: 1.2, batch: 2, spread: 0.35 },
  authenticate: { share: 1.9, event: 0.8, batch: 2, spread: 0.35 },
  route: { share: 1, event: 1.5, batch: 3, spread: 0.4 },
  persist: { share: 1, event: 2, batch: 420, spread: 0.45 },
  fan_out: { share: 1, event: 5, batch: 4, spread: 0.4 },
  read: { share: 0.03, event: 20, batch: 15, spread: 0.9 },
  hook: { share: 0.1, event: 12, batch: 6, spread: 0.8 },
  push: { share: 0.02, event: 9, batch: 5, spread: 0.6 },
};

const usual = (name) => ({
  name, pool: name, workers: 1, batch: 64, bound: 8192, policy: 'block', delay_target_ms: ['persist', 'read'].includes(name) ? 25 : 5,
  delay_interval_ms: 50, key_share: name === 'route' ? 0.1 : 1, window: 16, depth: 0, held: 0, rate: 0, refused: 0, utilisation: 0,
  blocked: { share: 0, by: null }, wait: null, service: null,
});

/** A generator of its own, so that each run is the same. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class Fake {
  state;
  seconds = [];
  changes = [];
  #stages = TOPOLOGY.stages.map(({ name }) => usual(name));
  #random = random(7);
  #watchers = new Set();
  #server;
  #timer;
  #n = 0;
  #phase = 0;
  #depths = {};
  #silence = null;

  constructor(state = 'busy', history = KEPT) {
    this.state = state;
    const now = Math.floor(Date.now() / 1000) * 1000;
    // A past with a change in it, if there is a past: persist's batches were made smaller for two minutes.
    for (let ago = history; ago > 0; ago--) {
      if (state === 'busy' && ago === 420) this.#change('persist', { batch: 8 }, now - ago * 1000, 'ann, tidegate tune, from 127.0.0.1:40318');
      if (state === 'busy' && ago === 300) this.#change('persist', { batch: 64 }, now - ago * 1000, 'ann, tidegate tune, from 127.0.0.1:40322');
      this.#tick(now - ago * 1000);
    }
  }

  async listen(port = 0) {
    this.#server = createServer((request, answer) => this.#answer(request, answer));
    await new Promise((ready) => this.#server.listen(port, '127.0.0.1', ready));
    this.#timer = setInterval(() => this.#tick(Date.now()), 1000);
    return `http://127.0.0.1:${this.#server.address().port}/`;
  }

  async close() {
    clearInterval(this.#timer);
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  #stage(name) {
    return this.#stages.find((stage) => stage.name === name);
  }

  /** Changes persist without anybody's having asked for it, as the file would. */
  persist(wish) {
    Object.assign(this.#stage('persist'), wish);
  }

  // The made-up seconds

  #tick(at) {
    this.#phase++;
    const load = this.#load();
    let pushes = null;
    for (const stage of [...this.#stages].reverse()) this.#work(stage, load);
    // Who is full holds up the one before.
    for (const [name, next] of [['route', 'persist'], ['authenticate', 'route'], ['decode', 'authenticate'], ['persist', 'fan_out']]) {
      const full = this.#stage(next).depth / this.#stage(next).bound;
      const share = full > 0.85 ? Math.min(0.96, (full - 0.85) * 5 + 0.12 * this.#random()) : 0;
      this.#stage(name).blocked = { share, by: share ? next : null };
      if (share) pushes ??= next;
    }
    const delivered = this.state === 'empty' ? 0 : Math.round(this.#stage('fan_out').rate);
    const line = ['decode', 'authenticate', 'route', 'persist', 'fan_out'].map((name) => this.#stage(name));
    const sum = (key) => line.reduce((all, { wait, service }) => all + (wait?.[key] ?? 0) + (service?.[key] ?? 0), 0) / 1e6;
    const huge = this.state === 'huge';
    const second = {
      n: ++this.#n,
      at_ms: at,
      stages: structuredClone(this.#stages),
      delivery: delivered ? { rate: delivered, p50_ms: sum('p50_ns'), p99_ms: sum('p99_ns') * 0.8, p999_ms: sum('p99_ns') * 1.5 } : { rate: 0, p50_ms: null, p99_ms: null, p999_ms: null },
      connections: this.state === 'empty' ? 0 : huge ? 1_234_567 : 100,
      sessions: this.state === 'empty' ? 0 : huge ? 1_234_001 : 100,
      conversations: this.state === 'empty' ? 0 : huge ? 9_876_543 : 50,
      resident_bytes: huge ? 123_456_789_012 : 96e6 + 40e6 * Math.sin(this.#phase / 200),
      cpu: huge ? 127.8 : Math.min(1.96, 0.02 + line.reduce((all, { utilisation }) => all + utilisation, 0) / 3),
      received_bytes: delivered * 164,
      sent_bytes: delivered * 310,
      mailbox: Math.round(delivered / 900),
      slow_readers: huge ? 4_294_967_295 : 0,
      store: {
        bytes: huge ? 98_765_432_109_876 : 412e6 + this.#phase * 60e3,
        warning: null,
        trouble: this.state === 'trouble' ? 'writes are refused until the disk takes them again: IO error: No space left on device: While appending to file: data/store/000123.log' : null,
      },
      bottleneck: this.#bottleneck(delivered),
      alerts: this.#alerts(at),
    };
    this.seconds.push(second);
    if (this.seconds.length > KEPT) this.seconds.shift();
    for (const change of this.changes) this.#judge(change, at);
    for (const watcher of this.#watchers) watcher.write(`id: ${second.n}\ndata: ${JSON.stringify(second)}\n\n`);
  }

  #load() {
    const wave = 0.75 + 0.25 * Math.sin(this.#phase / 45) + 0.06 * this.#random();
    if (this.state === 'empty') return 0;
    if (this.state === 'calm') return 1_200 * wave;
    return (this.state === 'huge' ? 5e6 : 92_000) * wave;
  }

  #work(stage, load) {
    const { share, event, batch, spread } = NATURE[stage.name];
    if (!load) return Object.assign(stage, { depth: 0, held: 0, rate: 0, utilisation: 0, wait: null, service: null });
    const offered = load * share * (0.95 + 0.1 * this.#random());
    // A webhook that goes slow for a while, and a disk that now and then takes its time.
    const slow = stage.name === 'hook' && this.#phase % 400 > 330 ? 9 : stage.name === 'persist' && this.#phase % 97 === 3 ? 25 : 1;
    const speed = this.state === 'huge' ? 50 : 1;
    // The fuller the queue, the fuller the batches; smoothed, as a second has many.
    const usualDepth = (this.#depths[stage.name] = 0.7 * (this.#depths[stage.name] ?? 3) + 0.3 * stage.depth);
    const taken = Math.min(stage.batch, Math.max(1, usualDepth));
    const batchUs = (slow * (batch + event * taken)) / speed;
    const able = (stage.workers ** 0.85 * taken * 1e6) / batchUs;
    const rate = Math.min(offered + stage.depth, able);
    const waiting = Math.min(stage.bound, Math.max(0, stage.depth + (offered - rate) * 0.5));
    stage.utilisation = Math.min(0.99, rate / able) * (0.94 + 0.06 * this.#random());
    const busy = stage.utilisation;
    stage.depth = Math.round(rate === able && offered > able ? waiting : Math.min(stage.bound, (busy ** 3 / Math.max(0.05, 1 - busy)) * taken * 0.6));
    stage.rate = Math.round(rate);
    stage.held = stage.name === 'hook' ? Math.round(stage.depth / 3) : 0;
    if (stage.depth >= stage.bound && stage.name === 'hook') stage.refused += Math.round(offered - rate);
    const waitUs = 3 + batchUs * 0.3 * busy + (stage.depth / Math.max(1, rate)) * 1e6;
    stage.wait = this.#spread(rate, waitUs * 1e3, spread + 0.3);
    stage.service = this.#spread(Math.max(1, rate / Math.min(taken, Math.max(1, stage.depth))), batchUs * 1e3, spread * 0.7);
  }

  /** So many times about this median, most near it and some far above. */
  #spread(count, median, sigma) {
    const counts = [];
    let left = Math.max(1, Math.round(count));
    let below = 0;
    const tail = (ns) => 0.985 * normal(Math.log(ns / median) / sigma) + 0.015 * normal(Math.log(ns / (median * 4)) / sigma);
    const at = { p50_ns: 0, p90_ns: 0, p99_ns: 0, max_ns: 0 };
    const total = left;
    for (let bucket = 0; bucket < BUCKETS && left > 0; bucket++) {
      const exact = total * (tail(upper(bucket)) - (bucket ? tail(lower(bucket)) : 0));
      const n = Math.min(left, Math.floor(exact + this.#random()));
      if (n > 0) {
        counts.push([bucket, n]);
        below += n;
        left -= n;
        for (const [key, part] of [['p50_ns', 0.5], ['p90_ns', 0.9], ['p99_ns', 0.99]]) if (!at[key] && below >= part * total) at[key] = upper(bucket);
        at.max_ns = upper(bucket);
      }
      if (exact < 1e-4 && lower(bucket) > median) break;
    }
    for (const key of ['p50_ns', 'p90_ns', 'p99_ns']) at[key] ||= at.max_ns;
    return { count: below, ...at, counts };
  }

  #alerts(at) {
    const raised = [
      { alert: 'latency', state: 'raised', side: 'high', since_ms: at - (at % 3_600_000), value: 840, unit: 'ms', expected: { recent: [20, 35], same_hour: [18, 40] }, limits: [0, 80], told: true, words: 'p99 is 840 ms; in the last hour it was 20 to 35 ms' },
      { alert: 'messages', state: 'raised', side: 'low', since_ms: at - (at % 3_600_000), value: 0, unit: 'messages/s', expected: { recent: [900, 1200], same_hour: null }, limits: [450, 2400], told: true, words: '0 messages a second; in the last hour it was 900 to 1200' },
    ];
    return { raised: this.state === 'odd' ? raised : [], silence: this.#silence };
  }

  #bottleneck(delivered) {
    if (this.state === 'empty') return null;
    if (this.state === 'calm') {
      return { stage: null, cause: 'upstream_idle', evidence: ['no stage is busy more than 31% of the time', 'the longest wait at the 99th percentile is 2.1 ms, in persist'], suggestion: 'Nothing: there is room for about 3 times the load.' };
    }
    const busiest = this.#stages.reduce((one, other) => (other.utilisation > one.utilisation ? other : one));
    const { name, utilisation, wait, service, workers, batch } = busiest;
    const ms = (spread) => ((spread?.p99_ns ?? 0) / 1e6).toFixed(2);
    const cause = { persist: 'fsync', hook: 'hook', push: 'push_provider' }[name] ?? 'workers';
    return {
      stage: name,
      cause,
      evidence: [
        `${name} is busy ${Math.round(utilisation * 100)}% of the time; no other stage passes ${Math.round(Math.max(...this.#stages.filter((s) => s !== busiest).map((s) => s.utilisation)) * 100)}%`,
        `the wait is ${ms(wait)} ms at the 99th percentile, the service ${ms(service)} ms`,
        cause === 'fsync' ? `91% of the service time is fsync, for ${Math.round(delivered / Math.max(1, service?.count))} events each` : `${workers} of ${workers} workers are inside`,
      ],
      suggestion: cause === 'fsync' ? `Take more events into one commit: batch = ${batch * 2}, or let commits overlap: workers = ${workers + 1}.` : cause === 'hook' ? 'The webhook answers in 110 ms instead of 12: look at the app’s server.' : `Give it another thread: workers = ${workers + 1}.`,
    };
  }

  // Changes

  #change(name, wish, at, by, dryRun = false, undoes = undefined) {
    const stage = this.#stage(name);
    const changes = Object.entries(wish).filter(([key, to]) => stage[key] !== to).map(([key, to]) => ({ key: `stages.${name}.${key.replace(/_ms$/, '')}`, from: stage[key], to }));
    const change = { id: dryRun ? 0 : this.changes.length + 1, at_ms: at, by, changes, effect: dryRun ? [] : ['pipeline', name].map((of) => ({ of, before: this.#figures(of), after: null })), ...(undoes ? { undoes } : {}), ...(dryRun ? { dry_run: true } : {}) };
    if (dryRun || !changes.length) return change;
    const back = Object.fromEntries(Object.keys(wish).map((key) => [key, stage[key]]));
    Object.assign(stage, wish);
    change.wish = { name, back };
    this.changes.push(change);
    return change;
  }

  #judge(change, at) {
    if (at - change.at_ms < 60_000) return;
    for (const effect of change.effect) effect.after ??= this.#figures(effect.of);
  }

  #figures(of) {
    const stage = this.#stage(of === 'pipeline' ? 'decode' : of);
    const wait = of === 'pipeline' ? this.seconds.at(-1)?.delivery.p99_ms : stage.wait && stage.wait.p99_ns / 1e6;
    return { rate: stage.rate, p99_ms: wait ?? null };
  }

  // What is asked

  async #answer(request, answer) {
    const url = new URL(request.url, 'http://fake');
    const [, first, name] = url.pathname.split('/').map(decodeURIComponent);
    const json = (body, status = 200) => answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const wrong = (status, error) => json({ code: status, error }, status);
    const text = async () => {
      let all = '';
      for await (const part of request) all += part;
      return all;
    };
    try {
      if (request.method === 'GET' && (url.pathname === '/' || first === 'dashboard')) {
        const file = name ?? 'index.html';
        return answer.writeHead(200, { 'content-type': TYPES[file.split('.').at(-1)] }).end(readFileSync(new URL(file, FILES)));
      }
      if (first === 'fake') {
        this.state = name;
        return json({ state: name });
      }
      if (first === 'live') return this.#watch(Number(url.searchParams.get('after') ?? this.#n - 1), answer);
      if (first === 'history') return json(this.seconds.slice(-Number(url.searchParams.get('seconds'))));
      if (first === 'topology') return json({ ...TOPOLOGY, pools: this.#stages.map(({ name, workers }) => ({ name, workers })) });
      if (first === 'journeys') return json(this.#journeys(url.searchParams));
      if (first === 'readyz') {
        const reasons = this.state === 'draining' ? ['draining: the server is about to stop'] : this.state === 'trouble' ? ['writes are refused until the disk takes them again: IO error: No space left on device'] : [];
        return json({ ready: !reasons.length, reasons }, reasons.length ? 503 : 200);
      }
      if (first === 'pools') return json([...this.#stages.map(({ name, workers }) => ({ name, workers, spin_us: 0, reactors: false, helped: 0, stages: [name] })), { name: 'spare', workers: 2, spin_us: 5, reactors: true, helped: 0, stages: [] }]);
      if (first === 'days') return json([{ day: '2026-11-28', app: 'chat', messages: 120_500, active_clients: 812, peak_connections: 640 }, { day: '2026-11-28', app: 'unused', messages: 0, active_clients: 0, peak_connections: 0 }, { day: '2026-11-27', app: 'chat', messages: 98_000, active_clients: 790, peak_connections: 655 }]);
      if (first === 'alerts') {
        const { for: length, reason } = request.method === 'POST' ? JSON.parse(await text()) : {};
        if (request.method === 'POST') this.#silence = { by: 'dashboard from 127.0.0.1', reason, since_ms: Date.now(), until_ms: Date.now() + (length === '1h' ? 3_600_000 : 0) };
        if (request.method === 'DELETE') this.#silence = null;
        const { raised, silence } = this.#alerts(Date.now());
        return json({ interval_ms: 60_000, silence, webhook: null, alerts: raised, notices: [] });
      }
      if (first === 'changes') return json(this.changes.map(({ wish, ...change }) => change));
      if (first === 'config') return json({ file: 'pipeline.toml', backup: 'pipeline.toml.bak', changes: this.changes.length ? this.changes[0].changes : [] });
      if (first === 'undo') {
        const last = this.changes.findLast(({ undoes, undone_by: by }) => !undoes && !by);
        if (!last) return wrong(409, 'There is no change left to undo.');
        const change = this.#change(last.wish.name, last.wish.back, Date.now(), 'dashboard from 127.0.0.1', false, last.id);
        last.undone_by = change.id;
        const { wish, ...told } = change;
        return json(told);
      }
      if (first === 'stages' && request.method === 'PATCH') {
        const wish = JSON.parse(await text());
        if (!this.#stage(name)) return wrong(404, `There is no stage named "${name}"; GET /stages lists them.`);
        for (const [key, value] of Object.entries(wish)) if (typeof value === 'number' && (value < 1 || (key === 'workers' && value > 1024))) return wrong(422, `${value} is not possible; 1 to 1024`);
        if (wish.policy === 'shed' && ['fan_out', 'authenticate'].includes(name)) return wrong(422, `"${name}" must not lose what waits before it, and "shed" would; "block"`);
        const { wish: _, ...change } = this.#change(name, wish, Date.now(), 'dashboard from 127.0.0.1', url.searchParams.has('dry_run'));
        return json(change.dry_run ? change : this.#stage(name));
      }
      if (first === 'stages') return json(name ? this.#stage(name) : this.#stages);
      return wrong(404, 'There is nothing here.');
    } catch (failed) {
      return wrong(500, String(failed));
    }
  }

  #watch(after, answer) {
    answer.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    for (const second of this.seconds.filter(({ n }) => n > after)) answer.write(`id: ${second.n}\ndata: ${JSON.stringify(second)}\n\n`);
    this.#watchers.add(answer);
    answer.on('close', () => this.#watchers.delete(answer));
  }

  #journeys(query) {
    const stage = query.get('stage');
    const least = Number(query.get('wait_at_least_us') ?? 0) || Number(query.get('service_at_least_us') ?? 0);
    const within = this.seconds.filter(({ at_ms: at }) => at > Number(query.get('from_ms')) && at <= Number(query.get('to_ms')));
    const isWait = query.has('wait_at_least_us');
    const found = [];
    for (const second of within) {
      const there = second.stages.find(({ name }) => name === stage)?.[isWait ? 'wait' : 'service'];
      if (!there || there.max_ns / 1e3 < least) continue;
      for (let copy = 0; copy < 4; copy++) {
        let queued = 0;
        const stages = ['decode', 'authenticate', 'route', 'persist', 'fan_out', 'hook'].map((name) => {
          const { wait, service } = second.stages.find((of) => of.name === name);
          const around = (spread) => ((spread?.p50_ns ?? 1e3) / 1e3) * (0.6 + this.#random());
          const span = { stage: name, queued_us: queued, wait_us: around(wait), service_us: around(service), batch: 1 + Math.floor(this.#random() * 64) };
          if (name === stage) span[isWait ? 'wait_us' : 'service_us'] = least + this.#random() * Math.max(1, there.max_ns / 1e3 - least);
          queued += span.wait_us + span.service_us;
          return span;
        });
        const journey = Math.floor(this.#random() * 2 ** 48).toString(16).padStart(32, '5d3c92f0b7a1');
        found.push({ journey, id: `-P7DO${Math.floor(this.#random() * 1e9).toString(36)}-----V-------F`, at_ms: second.at_ms, total_us: queued, stages });
      }
    }
    const slow = ({ stages }) => stages.find((span) => span.stage === stage)?.[isWait ? 'wait_us' : 'service_us'] ?? 0;
    return found.sort((one, other) => slow(other) - slow(one)).slice(0, 50);
  }
}

/** The normal distribution, well enough. */
function normal(x) {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const tail = (Math.exp((-x * x) / 2) / 2.5066) * t * (0.31938 + t * (-0.35656 + t * (1.78148 + t * (-1.82126 + t * 1.33027))));
  return x > 0 ? 1 - tail : tail;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '7799' }, state: { type: 'string', default: 'busy' } } });
  console.log(await new Fake(values.state, values.state === 'empty' ? 20 : KEPT).listen(Number(values.port)));
}
