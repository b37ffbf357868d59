// The dashboard as an engineer meets it, in headless Chromium against a running server under load.
//
//     node tests/dashboard/check.mjs [http://127.0.0.1:7702/] [--shots FOLDER]
//
// The server needs traffic, and `[journeys] sample = 1`. Changes persist and takes it back. Ends with 0, or with 1 and
// what was expected.

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';

import { PHONE, columns, fits, inBrowser, isLive, shot, step, until, visit } from './browser.mjs';

const { values: { shots }, positionals } = parseArgs({ allowPositionals: true, options: { shots: { type: 'string' } } });
const url = new URL(positionals[0] ?? 'http://127.0.0.1:7702/').href;
const ask = async (path) => (await fetch(new URL(path, url))).json();
const stage = (name) => ask(`stages/${name}`);
// A change that the server refuses is 422, and Chromium says so.
const isMeant = (message) => /422/.test(message);
const text = (page, selector) => page.locator(selector).textContent();

await inBrowser(async (browser) => {
  const page = await visit(browser, url, { isMeant });
  const names = (await ask('topology')).stages.map(({ name }) => name);
  const before = await stage('persist');

  await step('it loads, and shows every stage of the topology, live', async () => {
    await isLive(page);
    assert.deepEqual(await page.locator('.node .name').allTextContents(), names);
    await until(page, () => /live/.test(document.getElementById('state').textContent));
    await until(page, () => document.querySelector('.node[data-stage=persist] .rate').textContent !== '0/s');
    const state = await text(page, '#state');
    await until(page, (before) => document.getElementById('state').textContent !== before, state);
    assert.match(await text(page, '#figures'), /delivered[\d.]+k?\/s.*p99[\d.]+ .s.*memory[\d.]+ MiB/);
    assert.notEqual(await text(page, '#headline h2'), 'No traffic yet');
  });

  await step('the graph is there as a table of words', async () => {
    await page.click('#table summary');
    const rows = page.locator('#table tbody tr');
    assert.equal(await rows.count(), names.length);
    await until(page, () => /persist \(durable\)/.test(document.querySelector('#table tbody').textContent));
    await page.click('#table summary');
  });

  await step('heat maps get columns as seconds pass', async () => {
    await page.locator('canvas[data-stage=persist][data-kind=wait]').scrollIntoViewIfNeeded();
    for (const kind of ['wait', 'service']) {
      const first = await columns(page, 'persist', kind);
      for (let tries = 0; (await columns(page, 'persist', kind)) <= first; tries++) {
        assert.ok(tries < 100, `${kind}: still ${first} columns`);
        await page.waitForTimeout(100);
      }
    }
  });

  await step('a drag zooms in, and a key zooms back', async () => {
    const canvas = page.locator('canvas[data-stage=persist][data-kind=wait]');
    const box = await canvas.boundingBox();
    await page.mouse.move(box.x + box.width - 60, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 30, box.y + 25, { steps: 3 });
    await page.mouse.up();
    await until(page, () => !/15 min/.test(document.getElementById('range').textContent));
    await page.keyboard.press('0');
    await until(page, () => /15 min/.test(document.getElementById('range').textContent));
    assert.equal(await page.locator('#whole').isDisabled(), true);
  });

  await step('a click on a cell opens the journeys of the messages in it', async () => {
    // By the buttons, which zoom about the newest second; the keys would about the cursor.
    for (let steps = 0; steps < 4; steps++) await page.click('#nearer');
    const canvas = page.locator('canvas[data-stage=persist][data-kind=wait]');
    const box = await canvas.boundingBox();
    // Near the bottom: messages that waited at least a little; some seconds ago, as the newest are still on their way.
    await canvas.click({ position: { x: box.width - 32, y: box.height - 2 } });
    const dialog = page.locator('#journeys[open]');
    await dialog.locator('details').first().waitFor();
    assert.match(await text(page, '#journeys h2'), /^Messages that waited .* or longer in persist, \d\d:\d\d:\d\d/);
    const stages = await dialog.locator('details').first().locator('tbody th').allTextContents();
    for (const name of ['route', 'persist', 'fan_out']) assert.ok(stages.includes(name), `${name} is among ${stages}`);
    assert.ok((await dialog.locator('.bar .wait.chosen').count()) > 0);
    await shot(page, shots, 'journeys');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
  });

  await step('a cell with no sampled message says what to do', async () => {
    const canvas = page.locator('canvas[data-stage=persist][data-kind=wait]');
    await canvas.click({ position: { x: 60, y: 2 } });
    await page.locator('#journeys .none', { hasText: 'raise [journeys] sample' }).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('0');
  });

  await step('what is typed is tried, and what cannot be is refused in the server’s words', async () => {
    await page.locator('.node[data-stage=persist]').click();
    await page.fill('#tune [name=workers]', '5000');
    await page.locator('#tune output[data-kind=bad]', { hasText: '1 to 1024' }).waitFor();
    await page.fill('#tune [name=workers]', String(before.workers));
    await page.fill('#tune [name=batch]', '17');
    await page.locator('#tune output', { hasText: `persist.batch ${before.batch} → 17` }).waitFor();
    assert.equal((await stage('persist')).batch, before.batch, 'only tried');
  });

  await step('a change is in force, marked in time and listed; undo takes it back', async () => {
    await page.click('#tune [type=submit]');
    await page.locator('#tune output', { hasText: 'In force' }).waitFor();
    assert.equal((await stage('persist')).batch, 17);
    const row = page.locator('#changes tbody tr').first();
    await page.locator('#changes tbody', { hasText: `persist.batch ${before.batch} → 17` }).waitFor();
    assert.match(await row.textContent(), /◆ \d+.*dashboard from/);
    await page.click('#tune .undo');
    await page.locator('#tune output', { hasText: `Taken back: persist.batch 17 → ${before.batch}` }).waitFor();
    assert.equal((await stage('persist')).batch, before.batch);
    await page.locator('#changes tr.undone').waitFor();
    await until(page, (batch) => document.querySelector('#tune [name=batch]').value === batch, String(before.batch));
  });

  await step('somebody else’s change shows by itself', async () => {
    await fetch(new URL('stages/persist', url), { method: 'PATCH', headers: { 'tidegate-by': 'ann' }, body: '{"batch":33}' });
    await page.locator('#changes tbody', { hasText: `${before.batch} → 33` }).waitFor();
    await until(page, () => document.querySelector('#tune [name=batch]').value === '33');
  });

  await step('a number is left to the server, and fixed again', async () => {
    await page.click('#tune [data-auto=batch]');
    await page.locator('#tune output', { hasText: 'persist.batch 33 → auto' }).waitFor();
    await page.click('#tune [type=submit]');
    await page.locator('#tune output', { hasText: 'batch = auto' }).waitFor();
    assert.deepEqual((await stage('persist')).auto, { workers: false, batch: true });
    await until(page, () => document.querySelector('#tune [name=batch]').disabled);
    await page.click('#tune [data-auto=batch]');
    await page.click('#tune [type=submit]');
    await page.locator('#tune output', { hasText: 'batch = 33' }).waitFor();
    assert.deepEqual((await stage('persist')).auto, { workers: false, batch: false });
  });

  await step('by keyboard alone: find a stage, change it, take it back, read its map, open a cell', async () => {
    await page.keyboard.press('Escape');
    await page.locator('body').press('1');
    assert.equal(await page.locator('.node[data-stage=decode]').getAttribute('aria-pressed'), 'true');
    await page.keyboard.press(String(1 + names.indexOf('persist')));
    await page.keyboard.press('t');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'workers');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.name), 'batch');
    await page.keyboard.press('Control+a');
    await page.keyboard.type('9');
    await page.keyboard.press('Enter');
    await page.locator('#tune output', { hasText: 'In force: batch = 9' }).waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('u');
    await page.locator('#tune output', { hasText: 'batch 9 → 33' }).waitFor();
    await page.keyboard.press('m');
    await until(page, () => /persist · waited .* events/.test(document.getElementById('aloud').textContent));
    for (let back = 0; back < 4; back++) await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('Enter');
    await page.locator('#journeys[open]').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await page.locator('#help[open]', { hasText: 'take the last change back' }).waitFor();
    await page.keyboard.press('Escape');
    // The focus is where it was, and can be seen.
    assert.equal(await page.evaluate(() => document.activeElement.dataset.stage), 'persist');
    assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  });

  await step('the graph is walked by Tab, and Enter chooses', async () => {
    await page.locator('.node[data-stage=route]').focus();
    await page.keyboard.press('Enter');
    assert.equal(await page.inputValue('#tune [name=stage]'), 'route');
    assert.match(await page.locator('.node[data-stage=route] title').textContent(), /route: .*\/s, busy .* of the time/);
  });

  await step('light and dark, by the system and by the switch', async () => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await paper();
    assert.notEqual(dark, light);
    await shot(page, shots, 'dark');
    await page.click('#theme');
    assert.equal(await paper(), light);
    await page.reload();
    await isLive(page);
    assert.equal(await paper(), light, 'the choice stays');
    await page.click('#theme');
    assert.equal(await paper(), dark);
    await page.emulateMedia({ colorScheme: 'light' });
  });

  await step('it fits a phone, in English and Chinese', async () => {
    await page.setViewportSize(PHONE);
    await page.waitForTimeout(300);
    await fits(page, 'the page');
    if (await page.locator('#tune.folded').count()) await page.click('#fold');
    await page.locator('#tune [name=batch]').waitFor();
    await fits(page, 'the controls');
    await page.click('#table summary');
    await fits(page, 'the table');
    await page.click('#language');
    await page.locator('#pipeline-title', { hasText: '流水线' }).waitFor({ state: 'attached' });
    await isLive(page);
    await fits(page, 'the Chinese page');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh');
    await shot(page, shots, 'phone');
  });

  await fetch(new URL('undo', url), { method: 'POST' });
  await step('nothing went wrong on the way', async () => assert.deepEqual(page.wrong, []));
});
