// @ts-check
// Colour ramps: one of mel pictures, one of the map's shade, and the colours of notes; each for dark and for light.

/** @typedef {"mel" | "map"} Ramp */

const RAMPS = {
  dark: {
    mel: ["#0c0912", "#2a1545", "#6b1f6e", "#b5365c", "#ec6a3a", "#fdb660", "#fff1c4"],
    map: ["#1a1630", "#33204f", "#5b2a63", "#8a3a5f", "#b65a4d", "#d48a4f"],
    notes: ["#ff9a5c", "#c79bff", "#6fd3c4", "#ffd166", "#ff8fb3", "#8fb8ff"],
  },
  light: {
    mel: ["#fffcf7", "#fde8cc", "#f8bd8a", "#e07a5a", "#a83a6c", "#5b1f6b", "#1d0f33"],
    map: ["#fdf8ef", "#fbe7cd", "#f5cda6", "#eaae92", "#d6909a", "#b884ac"],
    notes: ["#a83e0c", "#6a2fae", "#0f7466", "#8a6100", "#b01e56", "#24549e"],
  },
};

export const theme = () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");
export const notes = () => RAMPS[theme()].notes;

/** @param {Ramp} name */
export const stops = (name) => RAMPS[theme()][name];

/** Values of the style sheet's variables, which are asked for in every frame.
 * @type {Map<string, string>} */
const variables = new Map();

/** @param {string} name @returns {string} a colour of the style sheet */
export function css(name) {
  const key = `${theme()} ${name}`;
  let value = variables.get(key);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    variables.set(key, value);
  }
  return value;
}

/** @type {Map<string, Uint32Array>} */
const tables = new Map();

/** @param {Ramp} name @returns {Uint32Array} 256 colours, as 32-bit pixels */
function table(name) {
  const key = `${theme()} ${name}`;
  const known = tables.get(key);
  if (known) return known;
  const parts = stops(name).map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  const pixels = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const at = (i / 255) * (parts.length - 1);
    const low = Math.min(Math.floor(at), parts.length - 2);
    const [r, g, b] = parts[low].map((from, c) => Math.round(from + (parts[low + 1][c] - from) * (at - low)));
    pixels[i] = (255 << 24) | (b << 16) | (g << 8) | r;
  }
  tables.set(key, pixels);
  return pixels;
}

/**
 * Numbers as a picture, on a canvas of one pixel for each.
 * @param {number} columns
 * @param {number} rows
 * @param {(column: number, row: number) => number} value 0 to 1
 * @param {Ramp} name
 */
export function picture(columns, rows, value, name) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = contextOf(canvas);
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = table(name);
  for (let y = 0; y < rows; y++)
    for (let x = 0; x < columns; x++)
      pixels[y * columns + x] = colours[Math.max(0, Math.min(255, Math.round(255 * value(x, y))))];
  context.putImageData(image, 0, 0);
  return canvas;
}

/** @param {OffscreenCanvas} canvas */
export function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gave no context to draw with");
  return context;
}

/**
 * Clear a canvas; gives its context, with CSS pixels for units and as sharp as the screen, and its size in them.
 * @param {HTMLCanvasElement} canvas
 */
export function prepare(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gave no context to draw with");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
