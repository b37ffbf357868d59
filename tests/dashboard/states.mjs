// The dashboard in the states that a real server is seldom in, in headless Chromium against the made-up one of fake.mjs.
//
//     node tests/dashboard/states.mjs [--shots FOLDER]

import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';

import { PHONE, columns, fits, inBrowser, isLive, shot, step, until, visit } from './browser.mjs';
import { Fake } from './fake.mjs';

const { values: { shots } } = parseArgs({ options: { shots: { type: 'string' } } });
const text = (page, selector) => page.locator(selector).textContent();
/** The connection that is cut, and readiness that says no, are told by Chromium. */
const isMeant = (message) => /ERR_|503/.test(message);

/** More of the busy state, for the documentation. */
async function photograph(page) {
  if (!shots) return;
  await page.evaluate(() => document.querySelector('.head').scrollIntoView());
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.keyboard.press('Escape');
  await page.keyboard.press('m');
  await page.waitForTimeout(500);
  await shot(page, shots, 'time');
  await page.keyboard.press('Enter');
  await page.locator('#journeys details').first().waitFor();
  await shot(page, shots, 'journeys');
  await page.keyboard.press('Escape');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(PHONE);
  await page.click('#fold');
  await page.evaluate(() => document.querySelector('.node[data-stage=route]').scrollIntoView());
  await page.waitForTimeout(500);
  await shot(page, shots, 'phone');
}

await inBrowser(async (browser) => {
  await step('nobody sends: it says what to run', async () => {
    const fake = new Fake('empty', 5);
    const page = await visit(browser, await fake.listen());
    await isLive(page);
    assert.equal(await text(page, '#headline h2'), 'No traffic yet');
    assert.match(await text(page, '#headline .suggestion'), /tidegate bench pairs --seconds 60/);
    assert.equal(await page.locator('#no-changes').isVisible(), true);
    assert.equal(await page.locator('#tune .undo').isDisabled(), true);
    await shot(page, shots, 'empty');
    assert.deepEqual(page.wrong, []);
    await fake.close();
  });

  await step('the headline names the bottleneck, and leads to its controls', async () => {
    const fake = new Fake('busy');
    fake.persist({ batch: 8 });
    const page = await visit(browser, await fake.listen());
    await isLive(page);
    await until(page, () => document.querySelector('#headline h2').textContent === 'persist is the bottleneck');
    assert.match(await text(page, '#headline .cause'), /waits for the disk/);
    assert.equal(await page.locator('#headline li').count(), 3);
    assert.match(await text(page, '.node[data-stage=persist] .flag'), /bottleneck/);
    await page.click('#headline button');
    assert.equal(await page.inputValue('#tune [name=stage]'), 'persist');

    // What pushes back is told by shape and words, not by colour alone.
    await page.locator('.edge.pushes .label', { hasText: '%' }).first().waitFor({ timeout: 60_000 });
    const held = await text(page, '.node[data-stage=route] .held');
    assert.match(held, /\d+% held up by persist/);
    assert.match(await page.locator('.edge.pushes title').first().textContent(), /persist pushes back: route had work and no room/);
    await shot(page, shots, 'bottleneck');
    assert.ok((await columns(page, 'persist', 'wait')) > 300);
    await photograph(page);
    assert.deepEqual(page.wrong, []);
    await fake.close();
  });

  await step('what is out of the usual is said in words, and its notices can be silenced', async () => {
    const fake = new Fake('odd', 60);
    const page = await visit(browser, await fake.listen());
    await isLive(page);
    await page.locator('#alerts h2', { hasText: '2 alerts' }).waitFor();
    const said = await page.locator('#alerts li').allTextContents();
    assert.match(said[0], /^p99 is 840 ms, lately it was 20 ms to 35 ms, at this hour of earlier days 18 ms to 40 ms, since \d\d:\d\d$/);
    assert.match(said[1], /^messages: 0\/s, lately it was 900\/s to 1\.2k\/s, since/);
    await shot(page, shots, 'alerts');
    await page.click('#alerts button');
    await page.locator('#alerts p.soft', { hasText: /silent until \d\d:\d\d, by dashboard/ }).waitFor();
    await page.setViewportSize(PHONE);
    await fits(page, 'the phone');
    await page.click('#alerts button');
    await page.locator('#alerts button', { hasText: 'Silence notices' }).waitFor();
    fake.state = 'calm';
    await page.locator('#alerts').waitFor({ state: 'hidden' });
    assert.deepEqual(page.wrong, []);
    await fake.close();
  });

  await step('all is well: it says that, too', async () => {
    const fake = new Fake('calm', 60);
    const page = await visit(browser, await fake.listen());
    await isLive(page);
    await until(page, () => document.querySelector('#headline h2').textContent === 'Nothing holds the pipeline up');
    await fake.close();
  });

  await step('huge numbers fit, on a phone as well', async () => {
    const fake = new Fake('huge', 60);
    const page = await visit(browser, await fake.listen());
    await isLive(page);
    await fits(page, 'the page');
    const cut = () => page.evaluate(() => [...document.querySelectorAll('#figures dd')].filter((dd) => dd.scrollWidth > dd.parentElement.clientWidth).map((dd) => dd.textContent));
    assert.deepEqual(await cut(), []);
    await page.setViewportSize(PHONE);
    await page.waitForTimeout(300);
    await fits(page, 'the phone');
    assert.deepEqual(await cut(), []);
    await fake.close();
  });

  await step('a full disk and a drain are told in the server’s words', async () => {
    const fake = new Fake('trouble', 60);
    const page = await visit(browser, await fake.listen(), { isMeant });
    await page.locator('#trouble', { hasText: 'No space left on device' }).waitFor();
    fake.state = 'draining';
    await page.locator('#trouble', { hasText: 'draining: the server is about to stop' }).waitFor();
    assert.match(await text(page, '#state'), /^not ready/);
    assert.deepEqual(page.wrong, []);
    await fake.close();
  });

  await step('the server goes: the page says since when, keeps its picture, and comes back by itself', async () => {
    const first = new Fake('busy', 120);
    const url = await first.listen();
    const page = await visit(browser, url, { isMeant });
    await isLive(page);
    await first.close();
    await page.locator('#trouble', { hasText: 'does not answer. What you see is as it was at' }).waitFor();
    assert.match(await text(page, '#state'), /^no connection, trying again in \d+ s$/);
    await shot(page, shots, 'broken');
    await page.fill('#tune [name=batch]', '7');
    await page.locator('#tune output[data-kind=bad]', { hasText: 'The server does not answer' }).waitFor();
    await page.click('#tune [type=reset]');
    await page.locator('#trouble button').click();
    // Another process, which counts its seconds from 1.
    const second = new Fake('busy', 3);
    await second.listen(Number(new URL(url).port));
    await until(page, () => /^live/.test(document.getElementById('state').textContent));
    assert.equal(await page.locator('#trouble').isHidden(), true);
    // What was seen of the old one is still there.
    assert.ok((await columns(page, 'decode', 'service')) > 40);
    assert.deepEqual(page.wrong, []);
    await second.close();
  });

  await step('a server that is not there yet is waited for', async () => {
    const fake = new Fake('calm', 3);
    const url = await fake.listen();
    const page = await visit(browser, url, { isMeant });
    await isLive(page);
    await page.route('**/history*', (route) => route.abort());
    await page.reload();
    await page.locator('#trouble', { hasText: 'Is it running?' }).waitFor();
    await page.unroute('**/history*');
    await isLive(page);
    await fake.close();
  });
});
