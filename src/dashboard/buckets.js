// The server's buckets of time: four to a doubling, from 1.024 µs to more than two minutes.

export const BUCKETS = 108;

/** The longest time of a bucket, in nanoseconds. */
export const upper = (bucket) => (5 + (bucket % 4)) * 2 ** (Math.floor(bucket / 4) + 8) - 1;

/** The shortest; what is quicker than the first bucket is in the first. */
export const lower = (bucket) => (bucket > 0 ? upper(bucket - 1) + 1 : 0);

/** Where a time lies among the buckets, as a fraction: bucket `b` reaches from `b` to `b + 1`. */
export function place(ns) {
  if (ns <= 1024) return 0;
  const doubling = Math.floor(Math.log2(ns / 1024));
  const within = (ns / (1024 * 2 ** doubling) - 1) * 4;
  return Math.min(BUCKETS, 4 * doubling + within);
}

/** The powers of ten from 1 µs on that lie below `most` buckets, as `[place, ns]`. */
export function decades(most) {
  const all = [];
  for (let ns = 1e3; place(ns) <= most && ns <= 1e11; ns *= 10) all.push([place(ns), ns]);
  return all;
}
