// @ts-check
// The score's piano roll over its mel, ten seconds at a time, with a playhead over both; below, all of it in a strip.

import { contextOf, css, notes, picture, prepare } from "./colours.js";
import { Emitter } from "./emitter.js";

/** @import { ScoreInfo } from "../messages.js" */
/** @import { Mel } from "./api.js" */
/** @import { Context } from "./geometry.js" */
/**
 * page: another stretch has come into view. seek: to a second of the score.
 * @typedef {{ page: null, seek: number }} SheetEvents
 */
/** @typedef {(start: number, end: number, key: number, velocity: number, colour: string) => void} DrawNote */

const MARGIN_KEYS = 3; // below and above the score's own keys
const TAIL = 2; // seconds after the last note
const [SPAN, NARROW_SPAN, NARROW] = [10, 5, 560]; // seconds in view; the second where the roll is so few pixels wide
const DECIBELS = [-92, -12]; // dark to bright of a mel picture
const NEPER = 20 / Math.LN10; // decibels

/** @extends {Emitter<SheetEvents>} */
export class Sheet extends Emitter {
  /** @type {ScoreInfo | null} */
  score = null;
  /** The mel of the view.
   * @type {Mel | null} */
  mel = null;
  position = 0; // seconds
  #low = 0; // the lowest key in view
  #high = 0;
  /** All notes, with what their picture depends on.
   * @type {{ width: number, colour: string, canvas: OffscreenCanvas } | null} */
  #notes = null;

  /** @param {Record<"roll" | "mel" | "over" | "whole", HTMLCanvasElement>} canvases */
  constructor(canvases) {
    super();
    this.canvases = canvases;
    canvases.over.addEventListener("pointerdown", (event) => this.#seek(event));
    canvases.over.addEventListener("pointermove", (event) => event.buttons && this.#seek(event));
  }

  /** Seconds in view. */
  get span() {
    return Math.min(this.canvases.roll.clientWidth < NARROW ? NARROW_SPAN : SPAN, this.length || SPAN);
  }

  /** Seconds of the score and its last release. */
  get length() {
    return this.score ? this.score.seconds + TAIL : 0;
  }

  /** The first second in view: the playhead turns the page. */
  get start() {
    return Math.floor((this.position + 1e-6) / this.span) * this.span;
  }

  /** The last second in view. */
  get stop() {
    return Math.min(this.start + this.span, this.length);
  }

  /** @param {ScoreInfo | null} score */
  show(score) {
    this.score = score;
    this.mel = null;
    this.position = 0;
    const keys = score ? score.tracks.flatMap((track) => (track.is_drum ? [] : track.keys)) : [];
    this.#low = keys.reduce((a, b) => Math.min(a, b), 127) - MARGIN_KEYS;
    this.#high = keys.reduce((a, b) => Math.max(a, b), 0) + MARGIN_KEYS;
    this.#notes = null;
    this.draw();
  }

  /** @param {Mel} mel of the view */
  paint(mel) {
    this.mel = mel;
    this.#drawMel();
  }

  /** @param {number} position of the playhead, in seconds */
  move(position) {
    const before = this.start;
    this.position = Math.min(position, this.length);
    if (this.start !== before) {
      this.mel = null;
      this.draw();
      this.emit("page", null);
    } else this.#drawPlayhead();
  }

  draw() {
    this.#drawRoll();
    this.#drawMel();
    this.#drawPlayhead();
  }

  /** @param {PointerEvent} event */
  #seek(event) {
    if (!this.score) return;
    const box = this.canvases.over.getBoundingClientRect();
    const to = this.start + ((event.clientX - box.left) / box.width) * this.span;
    this.emit("seek", Math.min(Math.max(to, 0), this.length));
  }

  /**
   * Draw each note that sounds between two seconds.
   * @param {number} from
   * @param {number} to
   * @param {DrawNote} draw
   */
  #each(from, to, draw) {
    const colours = notes();
    (this.score?.tracks ?? []).forEach((track, index) => {
      if (track.is_drum) return;
      for (let i = 0; i < track.starts.length; i++)
        if (track.ends[i] >= from && track.starts[i] <= to)
          draw(track.starts[i], track.ends[i], track.keys[i], track.velocities[i], colours[index % colours.length]);
    });
  }

  /**
   * @param {Context} c
   * @param {number} start
   * @param {number} end
   * @param {number} key
   */
  #fillNote(c, start, end, key) {
    const { clientWidth: width, clientHeight: height } = this.canvases.roll;
    const row = height / (this.#high - this.#low + 1);
    const [left, right] = [start, end].map((second) => ((second - this.start) / this.span) * width);
    const [w, h] = [Math.max(right - left - 1, 2.5), Math.max(row - 1, 2.5)];
    c.beginPath();
    c.roundRect(left, (this.#high - key) * row, w, h, Math.min(3, row / 2));
    c.fill();
  }

  #drawRoll() {
    const { context: c, width, height } = prepare(this.canvases.roll);
    if (!this.score) return;
    const row = height / (this.#high - this.#low + 1);
    c.fillStyle = css("line");
    c.globalAlpha = 0.45;
    for (let key = Math.ceil(this.#low / 12) * 12; key <= this.#high; key += 12)
      c.fillRect(0, (this.#high - key + 1) * row, width, 1);
    for (let second = Math.ceil(this.start); second <= this.stop; second++)
      c.fillRect(((second - this.start) / this.span) * width, 0, 1, height);
    this.#each(this.start, this.start + this.span, (start, end, key, velocity, colour) => {
      c.globalAlpha = 0.35 + (0.65 * velocity) / 127;
      c.fillStyle = colour;
      this.#fillNote(c, start, end, key);
    });
    c.globalAlpha = 1;
  }

  #drawMel() {
    const { context: c, width, height } = prepare(this.canvases.mel);
    if (!this.mel || !this.score) return;
    const { values, frames, bands } = this.mel;
    const [low, high] = DECIBELS;
    const at = (/** @type {number} */ x, /** @type {number} */ y) =>
      (NEPER * values[x * bands + bands - 1 - y] - low) / (high - low);
    c.imageSmoothingQuality = "high";
    c.drawImage(picture(frames, bands, at, "mel"), 0, 0, ((this.stop - this.start) / this.span) * width, height);
  }

  /** Draw the playhead over the picture and in the strip, and what sounds there. */
  #drawPlayhead() {
    const { context: c, width, height } = prepare(this.canvases.over);
    if (this.score) {
      const { position } = this;
      c.fillStyle = css("ink");
      this.#each(position, position, (start, end, key) => this.#fillNote(c, start, end, key));
      const x = ((position - this.start) / this.span) * width;
      c.fillStyle = css("panel");
      c.fillRect(x - 2, 0, 4, height);
      c.fillStyle = css("accent");
      c.fillRect(x - 1, 0, 2, height);
    }
    this.#drawStrip();
  }

  #drawStrip() {
    const { context: c, width, height } = prepare(this.canvases.whole);
    if (!this.score) return;
    const x = (/** @type {number} */ second) => (second / this.length) * width;
    c.drawImage(this.#allNotes(width, height), 0, 0, width, height);
    c.fillStyle = css("accent");
    c.globalAlpha = 0.16;
    c.fillRect(x(this.start), 0, x(this.stop - this.start), height);
    c.globalAlpha = 1;
    c.fillRect(x(this.position) - 1, 0, 2, height);
  }

  /**
   * The strip's notes, drawn once for a size and theme: a score may have thousands.
   * @param {number} width
   * @param {number} height
   */
  #allNotes(width, height) {
    const colour = css("soft");
    if (this.#notes?.width !== width || this.#notes.colour !== colour) {
      const scale = window.devicePixelRatio || 1;
      const canvas = new OffscreenCanvas(width * scale, height * scale);
      const c = contextOf(canvas);
      c.scale(scale, scale);
      c.fillStyle = colour;
      const x = (/** @type {number} */ second) => (second / this.length) * width;
      const row = (height - 8) / (this.#high - this.#low + 1);
      this.#each(0, this.length, (start, end, key) =>
        c.fillRect(x(start), 4 + (this.#high - key) * row, Math.max(x(end - start), 1), Math.max(row, 1.2)));
      this.#notes = { width, colour, canvas };
    }
    return this.#notes.canvas;
  }
}
