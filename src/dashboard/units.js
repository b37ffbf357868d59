// Numbers as people read them: three digits that count, and their unit.

import { language } from './words.js';

const NONE = '–';
const grouped = new Intl.NumberFormat(language);

const digits = (n, most) => (n >= 99.95 ? String(Math.round(n)) : String(Number(n.toPrecision(n < 10 ? Math.min(most, 2) : most))));

function scaled(n, steps, most) {
  let at = 0;
  // What would be rounded up to a thousand is one of the next unit.
  while (at + 1 < steps.length && n >= steps[at + 1][0] * 0.9995) at++;
  return [digits(n / steps[at][0], most), steps[at][1]];
}

const THOUSANDS = [[1, ''], [1e3, 'k'], [1e6, 'M'], [1e9, 'G'], [1e12, 'T']];
const TIMES = [[1, 'ns'], [1e3, 'µs'], [1e6, 'ms'], [1e9, 's']];
const BYTES = [[1, 'B'], [2 ** 10, 'KiB'], [2 ** 20, 'MiB'], [2 ** 30, 'GiB'], [2 ** 40, 'TiB']];

/** 12,345 as `12.3k`. */
export function short(n) {
  return n == null ? NONE : scaled(n, THOUSANDS, 3).join('');
}

/** 12345 as `12,345`. */
export const whole = (n) => (n == null ? NONE : grouped.format(Math.round(n)));

export const rate = (n) => (n == null ? NONE : `${short(n)}/s`);

/** Nanoseconds as `1.3 ms`; minutes stay seconds. */
export const time = (ns) => (ns == null ? NONE : scaled(ns, TIMES, 3).join(' '));

export const bytes = (n) => (n == null ? NONE : scaled(n, BYTES, 3).join(' '));

export function share(part) {
  if (part == null) return NONE;
  const percent = part * 100;
  return percent > 0 && percent < 1 ? '<1%' : `${Math.round(percent)}%`;
}

/** Seconds since the epoch as the wall's clock, with or without seconds. */
export function clock(seconds, exact = true) {
  const at = new Date(seconds * 1000);
  const parts = [at.getHours(), at.getMinutes(), ...(exact ? [at.getSeconds()] : [])];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

/** A span of seconds as `15 min` or `40 s`. */
export const span = (seconds) => (seconds >= 120 && seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`);
