// What the checks of the dashboard share: a headless Chromium whose pages may not ask anybody else nor go wrong, and steps
// that say what holds. CHROMIUM names another browser than Debian's.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { chromium } from 'playwright-core';

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 360, height: 740 };
/** Canvases are drawn with the next frame, and told once a second. */
const PATIENCE_MS = 15_000;

/** Runs `does(browser)`; ends the process with 1 where something did not hold. */
export async function inBrowser(does) {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
  try {
    await does(browser);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await browser.close();
    // A made-up server may still be listening where a step broke off.
    process.exit();
  }
}

/**
 * A page on this address, loaded. `page.wrong` is what went wrong on it; what `isMeant` says of a message on the console was
 * to be: Chromium tells every refusal there.
 */
export async function visit(browser, url, { isMeant = () => false, ...options } = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, locale: 'en-GB', colorScheme: 'light', ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.wrong = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type()) && !isMeant(message.text())) page.wrong.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => page.wrong.push(`page: ${error.stack}`));
  page.on('request', (request) => {
    const other = request.url();
    if (!other.startsWith('data:') && new URL(other).host !== new URL(url).host) page.wrong.push(`asked another host: ${other}`);
  });
  await page.goto(url);
  return page;
}

/** The page is there and told of seconds. */
export const isLive = (page) => page.locator('main:not([hidden]) .node .rate', { hasText: '/s' }).first().waitFor();

export async function step(what, does) {
  await does();
  console.log(`ok  ${what}`);
}

/** No wider than its window. */
export async function fits(page, what) {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${what} is ${content} px wide in a window of ${window}`);
}

/** Waits until it holds: `ask` is a function of the page. */
export const until = (page, ask, argument) => page.waitForFunction(ask, argument);

/** How many columns of a heat map have a colour of the palette, which is no shade of grey. */
export const columns = (page, stage, kind) => page.evaluate(([stage, kind]) => {
  const canvas = document.querySelector(`canvas[data-stage=${stage}][data-kind=${kind}]`);
  const { width, height } = canvas;
  // Of a copy: Chromium would warn about the page's own, which nobody else reads.
  const copy = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  let full = 0;
  for (let x = Math.ceil(46 * devicePixelRatio); x < width; x++) {
    for (let y = 0; y < height; y++) {
      const at = 4 * (y * width + x);
      if (Math.max(data[at], data[at + 1], data[at + 2]) - Math.min(data[at], data[at + 1], data[at + 2]) > 60) {
        full++;
        break;
      }
    }
  }
  return full;
}, [stage, kind]);

export async function shot(page, folder, name) {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
