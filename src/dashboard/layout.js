// Where the stages of a topology lie and how the edges between them run. Numbers only; it knows no elements.
//
// The line of a message runs along, each stage behind all that feed it; those that are only asked (read, hook, push) stand
// beside it, by the last one that asks them. All is reckoned in `along` and `across`, so that the same drawing runs from left
// to right on a wide page and from top to bottom on a narrow one.

/** Kinds of stages that answer beside the line: full, they refuse, and nobody waits for room in them. */
const BESIDE = new Set(['read', 'hook', 'push']);
/** Between two edges that leave the same side of a stage. */
const APART = 18;
/** Beyond the outermost edge, for its stroke where it is thick. */
const RIM = 6;
const CORNER = 9;

/**
 * Both ends of the line are the clients, as `{ in, out }`. Boxes are `{ x, y, w, h }`, edges
 * `{ from, to, output, asks, d, arrow, label: { x, y, beside } }`; a stage's end at the clients has the output `net`. `gap` is the
 * room between stages, `lift` between an edge that goes round others and what it goes round.
 */
export function layOut({ entry, stages }, { width, upright, box, gap: { lift, ...gap } }) {
  const places = placesOf(entry, stages);
  const columns = Math.max(...[...places.values()].map(({ column }) => column));
  const onLine = stages.filter(({ module }) => !BESIDE.has(module));
  const lineEnds = onLine.filter(({ to }) => targets(to).every(([, next]) => BESIDE.has(moduleOf(stages, next))));
  const lastColumn = 1 + Math.max(...onLine.map(({ name }) => places.get(name).column));
  const rows = 1 + Math.max(...[...places.values()].map(({ row }) => row));

  // What is at both ends of the line is smaller, so that stages get the room.
  const end = upright ? { w: box.w, h: 38 } : { w: 74, h: 62 };
  const length = upright ? box.h : box.w;
  const depth = upright ? box.w : box.h;
  const endLength = upright ? end.h : end.w;
  const tail = columns >= lastColumn ? length : endLength;
  const between = upright ? gap.along : Math.max(gap.along, (width - endLength - tail - (Math.max(columns, lastColumn) - 1) * length) / Math.max(columns, lastColumn));
  const start = (column) => (column === 0 ? 0 : endLength + between + (column - 1) * (length + between));
  const top = lift + RIM;
  const level = (row) => top + row * (depth + gap.across);

  const spots = new Map();
  for (const [name, { column, row }] of places) {
    spots.set(name, { a: start(column), c: level(row), la: length, lc: depth, column, row });
  }
  const endDepth = upright ? end.w : end.h;
  const centred = level(0) + (depth - endDepth) / 2;
  const ends = {
    in: { a: 0, c: centred, la: endLength, lc: endDepth, column: 0, row: 0 },
    out: { a: start(lastColumn), c: centred, la: endLength, lc: endDepth, column: lastColumn, row: 0 },
  };

  const bottom = level(rows - 1) + depth;
  const taken = new Set([...places.values()].map(({ column, row }) => `${column},${row}`));
  const edges = [{ from: null, to: entry, output: 'net', asks: false, points: route(ends.in, spots.get(entry), taken, bottom, lift) }];
  for (const { name, to } of stages) {
    for (const [output, next] of targets(to)) {
      const asks = BESIDE.has(moduleOf(stages, next));
      edges.push({ from: name, to: next, output, asks, points: route(spots.get(name), spots.get(next), taken, bottom, lift) });
    }
  }
  for (const { name } of lineEnds) {
    edges.push({ from: name, to: null, output: 'net', asks: false, points: route(spots.get(name), ends.out, taken, bottom, lift) });
  }

  const point = ([a, c]) => (upright ? [c, a] : [a, c]);
  const rect = ({ a, c, la, lc }) => (upright ? { x: c, y: a, w: lc, h: la } : { x: a, y: c, w: la, h: lc });
  const along = Math.max(...[...spots.values(), ends.out].map(({ a, la }) => a + la));
  const across = bottom + lift + RIM;
  return {
    width: upright ? across : along,
    height: upright ? along : across,
    boxes: new Map([...spots].map(([name, spot]) => [name, rect(spot)])),
    ends: { in: rect(ends.in), out: rect(ends.out) },
    edges: edges.map(({ points, ...edge }) => ({ ...edge, ...drawn(points.map(point)) })),
  };
}

const targets = (to) => Object.entries(to ?? {}).filter(([, next]) => next && next !== 'none');
const moduleOf = (stages, name) => stages.find((stage) => stage.name === name)?.module;

/** The column and the row of each stage. */
function placesOf(entry, stages) {
  const column = new Map([[entry, 1]]);
  const onLine = ({ module }) => !BESIDE.has(module);
  // The graph has no cycle, so the longest way to each is found in as many rounds as there are stages.
  for (const _ of stages) {
    for (const { name, to } of stages.filter(onLine)) {
      if (!column.has(name)) continue;
      for (const [, next] of targets(to)) {
        if (!BESIDE.has(moduleOf(stages, next))) column.set(next, Math.max(column.get(next) ?? 0, column.get(name) + 1));
      }
    }
  }
  for (const _ of stages) {
    for (const asker of stages.filter(({ name }) => column.has(name))) {
      for (const [, next] of targets(asker.to)) {
        if (!BESIDE.has(moduleOf(stages, next))) continue;
        const beside = column.get(asker.name) + (onLine(asker) ? 0 : 1);
        column.set(next, Math.max(column.get(next) ?? 0, beside));
      }
    }
  }
  const places = new Map();
  const taken = new Set();
  for (const { name, module } of stages) {
    const at = column.get(name) ?? 1;
    let row = BESIDE.has(module) ? 1 : 0;
    while (taken.has(`${at},${row}`)) row++;
    taken.add(`${at},${row}`);
    places.set(name, { column: at, row });
  }
  return places;
}

/** The corners of an edge, as `[along, across]`. */
function route(from, to, taken, bottom, lift) {
  const middle = ({ a, la }) => a + la / 2;
  const centre = ({ c, lc }) => c + lc / 2;
  const steps = to.column - from.column;
  if (from.row === to.row && steps === 1) return [[from.a + from.la, centre(from)], [to.a, centre(to)]];
  if (from.row === to.row) {
    // Round what is between, on the side where nothing stands.
    const above = from.c - lift;
    return [[middle(from) + APART, from.c], [middle(from) + APART, above], [middle(to) - APART, above], [middle(to) - APART, to.c]];
  }
  const under = from.c + from.lc;
  if (steps === 0) return [[middle(from), under], [middle(to), to.c]];
  const free = (column) => !taken.has(`${column},${to.row}`);
  const between = Array.from({ length: Math.max(0, steps - 1) }, (_, at) => from.column + 1 + at);
  if (steps > 0 && free(from.column) && between.every(free)) {
    return [[middle(from) + APART, under], [middle(from) + APART, centre(to)], [to.a, centre(to)]];
  }
  const round = bottom + lift;
  return [[middle(from) - APART, under], [middle(from) - APART, round], [middle(to), round], [middle(to), to.c + to.lc]];
}

/** A line with round corners, the tip of its arrow, and where words about it may stand. */
function drawn(points) {
  const [tip, before] = [points.at(-1), points.at(-2)];
  let d = `M${points[0]}`;
  points.slice(1, -1).forEach((corner, at) => {
    const [into, out] = [points[at], points[at + 2]];
    const turn = Math.min(CORNER, distance(into, corner) / 2, distance(corner, out) / 2);
    d += `L${towards(corner, into, turn)}Q${corner} ${towards(corner, out, turn)}`;
  });
  d += `L${towards(tip, before, 7)}`;

  const [dx, dy] = towards([0, 0], [before[0] - tip[0], before[1] - tip[1]], 8);
  const arrow = `M${tip}L${tip[0] + dx - dy / 2},${tip[1] + dy + dx / 2}L${tip[0] + dx + dy / 2},${tip[1] + dy - dx / 2}Z`;

  let longest = 0;
  for (let at = 1; at < points.length - 1; at++) {
    if (distance(points[at], points[at + 1]) > distance(points[longest], points[longest + 1])) longest = at;
  }
  const [one, two] = [points[longest], points[longest + 1]];
  return { d, arrow, label: { x: (one[0] + two[0]) / 2, y: (one[1] + two[1]) / 2, beside: one[0] === two[0] } };
}

const distance = (one, two) => Math.hypot(one[0] - two[0], one[1] - two[1]);

function towards(from, to, far) {
  const all = distance(from, to) || 1;
  return [from[0] + ((to[0] - from[0]) / all) * far, from[1] + ((to[1] - from[1]) / all) * far];
}
