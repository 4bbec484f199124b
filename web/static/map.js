// @ts-check
// The map of the timbre space: shade, contour lines, instruments, recordings, the point under the pointer and the path.

import { contextOf, css, picture, prepare, theme } from "./colours.js";
import { Emitter } from "./emitter.js";
import { contour, evenly, placeLabels } from "./geometry.js";

/** @import { Instrument, MapInfo, Shade } from "../messages.js" */
/** @import { Context, Label, Place } from "./geometry.js" */
/**
 * hover: the place under the pointer, or null. pick: play there. path: play along it. move: a key has moved the point.
 * node: how many points of a path keys have set.
 * @typedef {{ hover: Place | null, pick: Place, path: Place[], move: Place, node: number }} MapEvents
 */

const NEAR = 11; // pixels around an instrument that mean the instrument itself
const NODES = 8; // of a path
const LEVELS = 7; // between the shade's least and largest value, one fewer contours
const DRAG = 7; // pixels that a drag is longer than a click
const [STEP, LARGE_STEP] = [0.02, 0.1]; // of an arrow key, by the map's width
/** @type {Record<string, Place>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** @type {(value: number, low: number, high: number) => number} */
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** @extends {Emitter<MapEvents>} */
export class TimbreMap extends Emitter {
  /** @type {MapInfo | null} */
  map = null;
  /** @type {Shade | null} */
  shade = null;
  /** @type {{ letter: string, at: Place, on: boolean }[]} */
  pins = [];
  /** A path while it is drawn or plays.
   * @type {Place[]} */
  path = [];
  /** Where the pointer or the keys are.
   * @type {Place} */
  point = [0, 0];
  /** What sounds now; level: its RMS value.
   * @type {{ at: Place, level: number } | null} */
  beat = null;

  /** @type {{ x: number, y: number, places: Place[], moved: boolean } | null} */
  #drag = null;
  /** The points of a path that keys have set.
   * @type {Place[] | null} */
  #keyed = null;
  /** Shade and contours, with what they depend on.
   * @type {{ key: string, canvas: OffscreenCanvas } | null} */
  #ground = null;
  /** @type {{ key: string, labels: Label[] } | null} */
  #labels = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    super();
    this.canvas = canvas;
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.#cancel());
    canvas.addEventListener("pointerleave", () => this.#drag || this.emit("hover", null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {MapInfo} map */
  show(map) {
    this.map = map;
    this.shade = null;
    this.path = [];
    const { x, y } = map.instruments[0];
    this.point = [x, y];
    this.draw();
  }

  /** Whether a path is being drawn. */
  get drawing() {
    return Boolean(this.#drag || this.#keyed);
  }

  get #shown() {
    if (!this.map) throw new Error("there is no map yet");
    return this.map;
  }

  /** @param {Place} place @returns {string} as the command line takes it: an instrument's name, or coordinates */
  text(place) {
    return this.#near(place)?.name ?? `map@${place.map((value) => +value.toFixed(3)).join(",")}`;
  }

  /** @param {Place} place @returns {string} the instrument there, else the two nearest ones */
  words(place) {
    const here = this.#near(place);
    if (here) return here.name;
    const distance = (/** @type {Instrument} */ { x, y }) => Math.hypot(x - place[0], y - place[1]);
    const [a, b] = [...this.#shown.instruments].sort((one, other) => distance(one) - distance(other));
    return b ? `${a.name} / ${b.name}` : `near ${a.name}`;
  }

  /** @param {Place} place @returns {string} the shade's value there, with its unit; "" without a shade */
  value(place) {
    if (!this.shade) return "";
    const { columns, rows, values, unit } = this.shade;
    const [u, v] = this.#unit(place);
    const column = Math.round(clamp(u, 0, 1) * (columns - 1));
    const row = Math.round(clamp(v, 0, 1) * (rows - 1));
    return `${Math.round(values[row * columns + column])} ${unit}`;
  }

  /** @param {Place} place @returns {Instrument | null} the instrument that the place means */
  #near(place) {
    const [x, y] = this.#pixels(place);
    const distance = (/** @type {Instrument} */ other) => {
      const [u, v] = this.#pixels([other.x, other.y]);
      return Math.hypot(u - x, v - y);
    };
    const nearest = this.#shown.instruments.reduce((best, other) => (distance(other) < distance(best) ? other : best));
    return distance(nearest) <= NEAR ? nearest : null;
  }

  /** @param {Place} place @returns {[u: number, v: number]} 0 to 1, from the left and from the top */
  #unit([x, y]) {
    const { x: [left, right], y: [low, high] } = this.#shown;
    return [(x - left) / (right - left), (high - y) / (high - low)];
  }

  /** @param {Place} place @returns {[x: number, y: number]} in pixels */
  #pixels(place) {
    const [u, v] = this.#unit(place);
    return [u * this.canvas.clientWidth, v * this.canvas.clientHeight];
  }

  /** @param {PointerEvent} event @returns {Place} */
  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    const { x: [left, right], y: [low, high] } = this.#shown;
    const u = clamp((event.clientX - box.left) / box.width, 0, 1);
    const v = clamp((event.clientY - box.top) / box.height, 0, 1);
    return [left + u * (right - left), high - v * (high - low)];
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.map) return;
    const place = this.#place(event);
    this.point = place;
    const drag = this.#drag;
    if (drag && (drag.moved || Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > DRAG)) {
      drag.moved = true;
      drag.places.push(place);
      this.path = drag.places;
    }
    this.emit("hover", place);
    this.draw();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (!this.map || event.button) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.#drag = { x: event.clientX, y: event.clientY, places: [this.#place(event)], moved: false };
    this.#move(event);
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const drag = this.#drag;
    if (!drag) return;
    this.#drag = null;
    if (drag.moved && drag.places.length > 1) {
      this.path = evenly(drag.places, NODES);
      this.emit("path", this.path);
    } else this.emit("pick", this.#place(event));
    this.draw();
  }

  #cancel() {
    this.#drag = null;
    this.path = [];
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.map || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) this.#step(ARROWS[event.key], event.shiftKey ? LARGE_STEP : STEP);
    else if (event.key === "Enter") {
      if (this.#keyed && this.#keyed.length > 1) this.emit("path", this.path);
      else this.emit("pick", this.point);
      this.#keyed = null;
    } else if (event.key === "p" || event.key === "P") {
      this.#keyed = [...(this.#keyed ?? []), this.point];
      this.path = this.#keyed;
      this.emit("node", this.#keyed.length);
    } else if (event.key === "Escape") {
      this.#keyed = null;
      this.path = [];
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  /** @param {Place} direction @param {number} size by the map's width */
  #step([dx, dy], size) {
    const { x: [left, right], y: [low, high] } = this.#shown;
    const step = size * (right - left);
    const [x, y] = this.point;
    this.point = [clamp(x + dx * step, left, right), clamp(y + dy * step, low, high)];
    this.emit("hover", this.point);
    this.emit("move", this.point);
  }

  draw() {
    const { context: c, width, height } = prepare(this.canvas);
    if (!this.map || !width) return;
    if (this.shade) c.drawImage(this.#shading(this.shade, width, height), 0, 0, width, height);
    c.font = `600 ${width < 480 ? 11 : 12.5}px system-ui, 'DejaVu Sans', sans-serif`;
    c.textBaseline = "middle";
    c.lineJoin = "round";
    this.#drawPath(c);
    this.#drawInstruments(c, width, height);
    this.#drawPins(c);
    this.#drawBeat(c);
    this.#drawPoint(c);
  }

  /**
   * Shade and contours, drawn anew only when they change.
   * @param {Shade} shade
   * @param {number} width
   * @param {number} height
   */
  #shading(shade, width, height) {
    const key = [theme(), width, height, shade.by, this.#shown.model].join();
    if (this.#ground?.key !== key) {
      const scale = window.devicePixelRatio || 1;
      const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
      const c = contextOf(canvas);
      c.scale(scale, scale);
      drawShade(c, shade, width, height);
      this.#ground = { key, canvas };
    }
    return this.#ground.canvas;
  }

  /** @param {CanvasRenderingContext2D} c */
  #drawPath(c) {
    if (this.path.length < 1) return;
    const points = this.path.map((place) => this.#pixels(place));
    const [panel, accent] = ["panel", "accent"].map(css);
    c.lineCap = "round";
    for (const [colour, w] of /** @type {[string, number][]} */ ([[panel, 6], [accent, 3]])) {
      c.strokeStyle = colour;
      c.lineWidth = w;
      c.beginPath();
      points.forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y)));
      c.stroke();
    }
    disc(c, points[0], 5, panel, accent, 2);
    disc(c, points[points.length - 1], 5, accent, panel, 2);
  }

  /** @param {CanvasRenderingContext2D} c @param {number} width @param {number} height */
  #drawInstruments(c, width, height) {
    const { instruments, model } = this.#shown;
    const [ink, panel] = ["ink", "panel"].map(css);
    const key = [width, height, model].join();
    if (this.#labels?.key !== key) {
      const dots = instruments.map(({ name, x: across, y: up }) => {
        const [x, y] = this.#pixels([across, up]);
        return { name, x, y, w: c.measureText(name).width };
      });
      this.#labels = { key, labels: placeLabels(dots, width, height) };
    }
    for (const { name, x, y, box } of this.#labels.labels) {
      disc(c, [x, y], 4.5, ink, panel, 2);
      if (!box) continue; // its name is among the buttons below the map
      c.textAlign = "left";
      c.strokeStyle = panel;
      c.globalAlpha = 0.85;
      c.lineWidth = 4;
      c.strokeText(name, box[0], box[1] + 8);
      c.globalAlpha = 1;
      c.fillStyle = ink;
      c.fillText(name, box[0], box[1] + 8);
    }
  }

  /** @param {CanvasRenderingContext2D} c */
  #drawPins(c) {
    const [panel, accent, onAccent] = ["panel", "accent", "on-accent"].map(css);
    c.textAlign = "center";
    for (const { letter, at, on } of this.pins) {
      const [x, y] = this.#pixels(at);
      disc(c, [x, y], 9, on ? accent : panel, on ? onAccent : accent, 1.5);
      c.fillStyle = on ? onAccent : accent;
      c.fillText(letter, x, y + 0.5);
    }
  }

  /** @param {CanvasRenderingContext2D} c */
  #drawBeat(c) {
    if (!this.beat) return;
    const at = this.#pixels(this.beat.at);
    c.globalAlpha = 0.35;
    disc(c, at, 12 + 60 * Math.min(this.beat.level, 0.5), css("accent"));
    c.globalAlpha = 1;
    disc(c, at, 5, css("accent"), css("panel"), 2);
  }

  /** @param {CanvasRenderingContext2D} c */
  #drawPoint(c) {
    const [x, y] = this.#pixels(this.point);
    c.lineWidth = 3.5;
    for (const colour of [css("panel"), css("ink")]) {
      c.strokeStyle = colour;
      c.beginPath();
      c.arc(x, y, 10, 0, 7);
      for (const [dx, dy] of Object.values(ARROWS)) {
        c.moveTo(x + 6 * dx, y + 6 * dy);
        c.lineTo(x + 14 * dx, y + 14 * dy);
      }
      c.stroke();
      c.lineWidth = 1.5;
    }
  }
}

/** @param {OffscreenCanvasRenderingContext2D} c @param {Shade} shade @param {number} width @param {number} height */
function drawShade(c, { columns, rows, values }, width, height) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const at = (/** @type {number} */ x, /** @type {number} */ y) => (values[y * columns + x] - low) / (high - low || 1);
  c.imageSmoothingQuality = "high";
  const [w, h] = [width / (columns - 1), height / (rows - 1)]; // grid points lie on the edges, pixels in their middles
  c.drawImage(picture(columns, rows, at, "map"), -w / 2, -h / 2, width + w, height + h);
  c.strokeStyle = css("ink");
  c.globalAlpha = 0.16;
  c.lineWidth = 1;
  c.beginPath();
  for (let level = 1; level < LEVELS; level++) contour(c, columns, rows, at, level / LEVELS, w, h);
  c.stroke();
}

/**
 * @param {Context} c
 * @param {[x: number, y: number]} centre in pixels
 * @param {number} radius
 * @param {string} fill
 * @param {string} [ring] colour of its edge
 * @param {number} [width] of the edge
 */
function disc(c, [x, y], radius, fill, ring = "", width = 0) {
  c.beginPath();
  c.arc(x, y, radius, 0, 7);
  c.fillStyle = fill;
  c.fill();
  if (width) {
    c.strokeStyle = ring;
    c.lineWidth = width;
    c.stroke();
  }
}
