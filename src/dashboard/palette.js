// The colours of the heat maps, computed: lightness only ever goes one way, so they stay apart for every kind of eye, and
// in print. Few events are near the paper's own lightness, many are far from it; hue goes from violet over teal to yellow.

const STEPS = 256;
const made = new Map();

/** 256 colours as 0xAABBGGRR, for the pixels of a canvas; the first is transparent: nothing happened. */
export function palette(dark) {
  if (!made.has(dark)) made.set(dark, compute(dark));
  return made.get(dark);
}

function compute(dark) {
  const colours = new Uint32Array(STEPS);
  for (let step = 1; step < STEPS; step++) {
    const [r, g, b] = colourOf(step / (STEPS - 1), dark);
    colours[step] = 0xff000000 | (b << 16) | (g << 8) | r;
  }
  return colours;
}

/** A colour of the palette for style sheets, for legends. */
export const css = (part, dark) => `rgb(${colourOf(part, dark).join(' ')})`;

export function colourOf(part, dark) {
  const lightness = dark ? 0.33 + 0.61 * part : 0.9 - 0.62 * part;
  const hue = dark ? 300 - 195 * part : 105 + 195 * part;
  const chroma = 0.07 + 0.1 * Math.sin(Math.PI * Math.min(1, part * 1.1 + 0.05));
  return fromOklch(lightness, chroma, (hue * Math.PI) / 180);
}

// The OKLab colour space, as its author defined it: equal steps look equal.
function fromOklch(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue);
  const b = chroma * Math.sin(hue);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((linear) => {
    const light = Math.min(1, Math.max(0, linear));
    return Math.round(255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055));
  });
}
