// The development page as a person meets it, in headless Chromium against a running server.
//
//     node tests/page/check.mjs [http://127.0.0.1:7700] [--shots FOLDER]
//
// Two tabs talk, are cut off and come back; journeys are drawn and opened by key; nothing is asked of another host and
// nothing goes wrong on the console. Names are new with each run, so a store may be used again. CHROMIUM names another
// browser than Debian's. Ends with 0, or with 1 and what was expected.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { chromium } from 'playwright-core';
import { decode } from '../../src/page/wire.js';

const { values: { shots }, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: 'string' } } });
const url = new URL(positionals[0] ?? 'http://127.0.0.1:7700/');
const STAGES = ['authenticate', 'route', 'persist', 'fan_out'];
// As the router's own answer for an id that it has no journey of.
const isMissingJourney = (message) => message.location().url.includes('/dev/journeys/') && /404/.test(message.text());

const run = Date.now().toString(36);
const alice = `alice-${run}`;
const bob = `bob-${run}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
// What went wrong on any page, and every message body that a page sent.
const wrong = [];
const bodies = [];

const options = { viewport: { width: 1100, height: 720 }, locale: 'en-GB', ignoreHTTPSErrors: true };

function watch(context) {
  context.setDefaultTimeout(10_000);
  context.on('page', (page) => {
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && !isMissingJourney(message)) wrong.push(`console: ${message.text()}`);
    });
    page.on('pageerror', (error) => wrong.push(`page: ${error.stack}`));
    const sameHost = (other) => {
      if (!other.startsWith('data:') && new URL(other).host !== url.host) wrong.push(`asked another host: ${other}`);
    };
    page.on('request', (request) => sameHost(request.url()));
    page.on('websocket', (socket) => {
      sameHost(socket.url());
      socket.on('framesent', ({ payload }) => {
        const { directMessage } = decode(new Uint8Array(payload));
        if (directMessage) bodies.push(directMessage.msg);
      });
    });
  });
  return context;
}

async function tab(context, name, before = async () => {}) {
  const page = await context.newPage();
  await before(page);
  await page.goto(url.href);
  if (name) {
    await page.fill('#name', name);
    await page.press('#name', 'Enter');
    await page.locator('#state[data-state=connected]').waitFor();
  }
  return page;
}

const say = async (page, text) => {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
};
const heard = (page, text) => page.locator('.body', { hasText: text }).first().waitFor();
const status = (page, text, status) => page.locator('li', { hasText: text }).locator(`.status[data-status=${status}]`).waitFor();
const spoken = (page) => page.locator('.body').allTextContents();
const talkWith = (page, name) => page.locator('#talks button', { hasText: name });
const fits = async (page, what) => {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${what} is ${content} px wide in a window of ${window}`);
};

async function shot(page, name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

async function step(what, does) {
  await does();
  console.log(`ok  ${what}`);
}

try {
  const context = watch(await browser.newContext(options));
  // Bob's line can be cut: both the connection that is and those that are tried.
  let cut = false;
  let line;
  const cuttable = (page) => page.routeWebSocket(/./, (socket) => {
    if (cut) return socket.close({ code: 1001 });
    socket.connectToServer();
    line = socket;
  });
  let a;
  let b;

  await step('two tabs are two people, and an empty page says what to do', async () => {
    a = await tab(context, alice);
    b = await tab(context, bob, cuttable);
    await shot(a, 'empty');
    assert.equal(await a.textContent('#me'), alice);
    assert.equal(await b.textContent('#me'), bob);
    assert.match(await a.textContent('#empty'), /Write somebody/);
  });

  await step('a message is delivered to a tab that looks elsewhere, and read when it is opened', async () => {
    await a.fill('#other', bob);
    await a.press('#other', 'Enter');
    await a.locator('#write').waitFor();
    await say(a, 'Is the tide in?');
    await status(a, 'Is the tide in?', 'delivered');
    await talkWith(b, alice).locator('b', { hasText: '1 new' }).waitFor();
    await talkWith(b, alice).click();
    await heard(b, 'Is the tide in?');
    await status(a, 'Is the tide in?', 'read');
    assert.equal(await talkWith(b, alice).locator('b').count(), 0);
  });

  await step('answers come in order, as text, and are said aloud', async () => {
    await say(b, 'It is.');
    await say(b, '潮水来了');
    await say(b, '<img src=x onerror=alert(1)>');
    await heard(a, '<img');
    assert.deepEqual(await spoken(a), ['Is the tide in?', 'It is.', '潮水来了', '<img src=x onerror=alert(1)>']);
    assert.deepEqual(await spoken(b), await spoken(a));
    assert.match(await a.textContent('#aloud'), new RegExp(`^${bob} says: <img`));
  });

  await step('what is sent is the text message of the SDKs', async () => {
    assert.deepEqual(JSON.parse(bodies[0]), { _lctype: -1, _lctext: 'Is the tide in?' });
  });

  await step('both tabs draw the journey of each message, stage by stage', async () => {
    for (const page of [a, b]) {
      await page.waitForFunction(() => document.querySelectorAll('.bar').length === document.querySelectorAll('.body').length);
      for (const stage of STAGES) {
        const part = page.locator(`.bar .work[data-stage=${stage}]`).first();
        const [bar, box] = [await page.locator('.bar').first().boundingBox(), await part.boundingBox()];
        assert.ok(box.width >= 1 && box.x >= bar.x - 1 && box.x + box.width <= bar.x + bar.width + 1, `${stage} lies in its bar`);
        assert.match(await part.getAttribute('title'), new RegExp(`${stage}: waited [\\d.]+ .?s, worked [\\d.]+ .?s`));
      }
    }
  });

  await step('a journey is told in words, and opens and closes by key', async () => {
    const bar = a.locator('.bar').last();
    assert.match(await bar.getAttribute('aria-label'), /^Journey of .*persist: waited .* worked .*fan_out/);
    await bar.focus();
    await a.keyboard.press('Enter');
    const table = a.locator('.journey').last().locator('table');
    await table.waitFor();
    const rows = await table.locator('tbody th, tr > th:first-child').allTextContents();
    for (const stage of STAGES) assert.ok(rows.some((row) => row.includes(stage)), `${stage} is in the table`);
    assert.equal(await bar.getAttribute('aria-expanded'), 'true');
    await shot(a, 'desktop-light');
    await a.emulateMedia({ colorScheme: 'dark' });
    await shot(a, 'desktop-dark');
    await a.keyboard.press('Enter');
    await table.waitFor({ state: 'hidden' });
  });

  await step('a reload is the same person in the same talk, with its history; a new tab is nobody yet', async () => {
    const before = await spoken(a);
    await a.reload();
    await heard(a, '<img');
    assert.deepEqual(await spoken(a), before);
    assert.equal(await a.textContent('#me'), alice);
    await a.locator('.bar').nth(before.length - 1).waitFor();
    const other = await tab(context);
    await other.locator('#door').waitFor();
    await shot(other, 'door');
    await other.close();
  });

  await step('a cut line is shown, and what was said on both sides meanwhile arrives once', async () => {
    cut = true;
    await line.close({ code: 1001 });
    await b.locator('#state[data-state=waiting]').waitFor();
    assert.match(await b.textContent('#state'), /no connection, trying again in \d+ s/);
    await say(b, 'Said into the void');
    await status(b, 'Said into the void', 'unsent');
    await say(a, 'Are you there?');
    await status(a, 'Are you there?', 'sent');
    await shot(b, 'cut');
    cut = false;
    await b.click('#now');
    await b.locator('#state[data-state=connected]').waitFor();
    await heard(b, 'Are you there?');
    await heard(a, 'Said into the void');
    const lines = (await spoken(a)).slice(-2);
    assert.deepEqual(lines, ['Are you there?', 'Said into the void']);
    assert.deepEqual((await spoken(b)).slice(-2), lines);
  });

  await step('a refused message says why, with code and name', async () => {
    await say(a, '潮'.repeat(2_000));
    const refused = a.locator('.status[data-status=failed]');
    await refused.waitFor();
    assert.match(await refused.textContent(), /4109 FRAME_TOO_LONG.*Send again/);
    assert.equal(await a.locator('#trouble').isHidden(), true);
  });

  await step('the lobby is one room for all', async () => {
    await talkWith(a, 'Lobby').click();
    await talkWith(b, 'Lobby').click();
    await a.locator('#title', { hasText: 'Lobby' }).waitFor();
    await b.locator('#title', { hasText: 'Lobby' }).waitFor();
    await b.locator('#empty', { hasNotText: 'Reading' }).waitFor({ state: 'attached' });
    await say(a, `Anybody here, ${run}?`);
    await heard(b, `Anybody here, ${run}?`);
  });

  await step('it fits a phone, light and dark, in English and Chinese', async () => {
    await talkWith(b, alice).click();
    await b.setViewportSize({ width: 360, height: 720 });
    await heard(b, 'Are you there?');
    await fits(b, 'a talk');
    await shot(b, 'phone-light');
    const paper = () => b.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    await b.emulateMedia({ colorScheme: 'dark' });
    assert.notEqual(await paper(), light);
    await shot(b, 'phone-dark');
    const chinese = watch(await browser.newContext({ ...options, locale: 'zh-CN', viewport: { width: 360, height: 720 } }));
    const c = await tab(chinese);
    assert.match(await c.textContent('#door'), /两个标签页就是两个人/);
    await fits(c, 'the door');
    await shot(c, 'phone-door-zh');
  });

  await step('logging out leads back to the door', async () => {
    await b.click('#leave');
    await b.locator('#door').waitFor();
    await b.reload();
    await b.locator('#door').waitFor();
  });

  await step('nothing went wrong on the way', async () => {
    for (const page of [a, b]) assert.equal(await page.locator('#trouble').isHidden(), true, await page.textContent('#trouble'));
    assert.deepEqual(wrong, []);
  });
} catch (error) {
  console.error(error);
  if (wrong.length) console.error('On the pages:', wrong);
  process.exitCode = 1;
} finally {
  await browser.close();
}
