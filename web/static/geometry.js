// @ts-check
// Lines on the map, and where names fit beside points.

/** @typedef {[x: number, y: number]} Place in the coordinates of the map */
/** @typedef {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} Context */
/** @typedef {[x: number, y: number, width: number, height: number]} Box in pixels */
/** @typedef {{ name: string, x: number, y: number, w: number }} Dot a point and its name's width, in pixels */
/** @typedef {Dot & { box: Box | null }} Label box: where the name stands; null where it does not fit */

/**
 * Places along a line, evenly spaced.
 * @param {Place[]} places
 * @param {number} count
 * @returns {Place[]}
 */
export function evenly(places, count) {
  const lengths = [0];
  for (let i = 1; i < places.length; i++)
    lengths.push(lengths[i - 1] + Math.hypot(places[i][0] - places[i - 1][0], places[i][1] - places[i - 1][1]));
  const whole = lengths[lengths.length - 1];
  return Array.from({ length: count }, (_, n) => along(places, lengths, (n / (count - 1)) * whole));
}

/**
 * The place on a line that belongs to `value`, by linear interpolation.
 * @param {Place[]} places
 * @param {number[]} values one for each place, rising
 * @param {number} value
 * @returns {Place}
 */
export function along(places, values, value) {
  let i = values.findIndex((other) => other >= value);
  if (i < 0) i = values.length - 1;
  if (i === 0) return places[0];
  const part = (value - values[i - 1]) / (values[i] - values[i - 1] || 1);
  const [[x, y], [toX, toY]] = [places[i - 1], places[i]];
  return [x + part * (toX - x), y + part * (toY - y)];
}

/**
 * Trace the contour of a grid at a level (marching squares).
 * @param {Context} c
 * @param {number} columns
 * @param {number} rows
 * @param {(column: number, row: number) => number} at the grid's value
 * @param {number} level
 * @param {number} w width of a cell, in pixels
 * @param {number} h height of a cell
 */
export function contour(c, columns, rows, at, level, w, h) {
  for (let y = 0; y < rows - 1; y++)
    for (let x = 0; x < columns - 1; x++) {
      const corners = [[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]];
      /** @type {Place[]} */
      const cut = [];
      corners.forEach(([ax, ay], i) => {
        const [bx, by] = corners[(i + 1) % 4];
        const [a, b] = [at(ax, ay) - level, at(bx, by) - level];
        if (a < 0 !== b < 0) cut.push([(ax + ((bx - ax) * a) / (a - b)) * w, (ay + ((by - ay) * a) / (a - b)) * h]);
      });
      for (let i = 0; i + 1 < cut.length; i += 2) {
        c.moveTo(...cut[i]);
        c.lineTo(...cut[i + 1]);
      }
    }
}

/**
 * Where each name fits beside its dot. Several orders of placing them are tried; the one that leaves the fewest out is
 * taken.
 * @param {Dot[]} dots
 * @param {number} width of the picture
 * @param {number} height
 * @returns {Label[]}
 */
export function placeLabels(dots, width, height) {
  const by = (/** @type {(dot: Dot) => number} */ value) =>
    inOrder([...dots].sort((a, b) => value(a) - value(b)), dots, width, height);
  const attempts = [
    inOrder(dots, dots, width, height),
    by((dot) => dot.x),
    by((dot) => -dot.x),
    by((dot) => dot.y),
    by((dot) => -dot.y),
    by((dot) => -dot.w),
  ];
  const left = (/** @type {Label[]} */ labels) => labels.filter(({ box }) => !box).length;
  return attempts.reduce((best, other) => (left(other) < left(best) ? other : best));
}

const MOST_OVERLAP = 60; // square pixels; a name that covers more of dots and other names is left out
const OUTSIDE = 1e3; // the cost of a name that the picture's edge cuts

/**
 * @param {Dot[]} order in which the names are placed
 * @param {Dot[]} dots
 * @param {number} width
 * @param {number} height
 * @returns {Label[]}
 */
function inOrder(order, dots, width, height) {
  const taken = dots.map(({ x, y }) => /** @type {Box} */ ([x - 6, y - 6, 12, 12]));
  const over = (/** @type {number} */ a, /** @type {number} */ b, /** @type {number} */ c, /** @type {number} */ d) =>
    Math.max(0, Math.min(a + b, c + d) - Math.max(a, c));
  const cost = (/** @type {Box} */ [x, y, w, h]) => {
    const overlap = taken.reduce((sum, [X, Y, W, H]) => sum + over(x, w, X, W) * over(y, h, Y, H), 0);
    return overlap + (x < 2 || x + w > width - 2 || y < 2 || y + h > height - 2 ? OUTSIDE : 0);
  };
  return order.map((dot) => {
    const { x, y, w } = dot;
    const corners = [[9, -8], [-9 - w, -8], [-w / 2, -25], [-w / 2, 9], [6, -21], [6, 5], [-6 - w, -21], [-6 - w, 5]];
    const boxes = corners.map(([dx, dy]) => /** @type {Box} */ ([x + dx, y + dy, w, 16]));
    const box = boxes.reduce((best, other) => (cost(other) < cost(best) ? other : best));
    if (cost(box) > MOST_OVERLAP) return { ...dot, box: null };
    taken.push(box);
    return { ...dot, box };
  });
}
