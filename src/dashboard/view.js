// Which part of time all the pictures show: the newest `span` seconds, or a stretch of the past that stays.
//
// Owns the stretch and the steps of the zoom. Times are whole seconds since the epoch. Event: `change`.

/** As long as the server keeps its seconds. */
export const KEPT = 900;
const STEPS = [900, 600, 300, 120, 60, 30];

export class View extends EventTarget {
  newest = 0;
  #span = KEPT;
  // The last second shown; `null`: always the newest.
  #last = null;

  get span() {
    return this.#span;
  }

  get isLive() {
    return this.#last === null;
  }

  get isWhole() {
    return this.isLive && this.#span === KEPT;
  }

  /** The first second shown. */
  get from() {
    return this.to - this.#span;
  }

  /** The second after the last one. */
  get to() {
    return (this.#last ?? this.newest) + 1;
  }

  /** The newest second there is. What no longer exists is not shown: a stretch of the past moves on with its end. */
  advance(newest) {
    this.newest = newest;
    if (this.#last !== null && this.#last - this.#span < newest - KEPT) this.#last = Math.min(newest, newest - KEPT + this.#span);
  }

  /** From one second to another one, both within. */
  show(from, last) {
    this.#span = Math.max(STEPS.at(-1), last - from + 1);
    this.#last = Math.max(last, from + this.#span - 1);
    if (this.#last >= this.newest) this.#last = null;
    this.#changed();
  }

  whole() {
    this.#span = KEPT;
    this.#last = null;
    this.#changed();
  }

  /** One step nearer, about this second; without one, about the newest. */
  nearer(about = null) {
    this.#become(STEPS.find((step) => step < this.#span) ?? this.#span, about);
  }

  farther(about = null) {
    this.#become(STEPS.findLast((step) => step > this.#span) ?? KEPT, about);
  }

  #become(span, about) {
    const centre = about ?? (this.isLive ? null : this.to - this.#span / 2);
    this.#span = span;
    const last = centre === null ? this.newest : Math.round(centre + span / 2);
    this.#last = last >= this.newest || span === KEPT ? null : Math.max(last, this.newest - KEPT + span);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

/** Round times for an axis of so many pixels. */
export function ticks(from, to, pixels) {
  const apart = [5, 10, 15, 30, 60, 120, 180, 300].find((step) => (step / (to - from)) * pixels >= 64) ?? 300;
  // Of the wall's clock, also where time zones are apart by half an hour: all steps divide that.
  const all = [];
  for (let at = Math.ceil(from / apart) * apart; at < to; at += apart) all.push(at);
  return { apart, all };
}
