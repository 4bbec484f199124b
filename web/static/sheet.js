// The score's piano roll over its mel, ten seconds at a time, with a playhead over both; below, all of it in a strip.

import { css, notes, picture, prepare } from "./colours.js";

const LOW_KEYS = 6; // the roll shows at least so many keys around the score's own
const DECIBELS = [-92, -12]; // dark to bright of a mel picture
const NEPER = 20 / Math.LN10; // decibels

export class Sheet extends EventTarget {
  constructor({ roll, mel, over, whole }) {
    super();
    this.canvases = { roll, mel, over, whole };
    this.score = null;
    this.mel = null; // { values, frames, bands } of the view
    this.position = 0;
    over.addEventListener("pointerdown", (event) => this.#seek(event));
    over.addEventListener("pointermove", (event) => event.buttons && this.#seek(event));
  }

  get span() {
    return Math.min(this.canvases.roll.clientWidth < 560 ? 5 : 10, this.length || 10);
  }

  get length() {
    return this.score ? this.score.seconds + 2 : 0;
  }

  // The first second in view: the playhead turns the page.
  get start() {
    return Math.floor((this.position + 1e-6) / this.span) * this.span;
  }

  get stop() {
    return Math.min(this.start + this.span, this.length);
  }

  show(score) {
    this.score = score;
    this.mel = null;
    this.position = 0;
    const keys = score ? score.tracks.flatMap((track) => (track.is_drum ? [] : track.keys)) : [];
    this.low = keys.reduce((a, b) => Math.min(a, b), 127) - LOW_KEYS / 2;
    this.high = keys.reduce((a, b) => Math.max(a, b), 0) + LOW_KEYS / 2;
    this.drawn = null;
    this.draw();
  }

  paint(mel) {
    this.mel = mel;
    this.#mel();
  }

  // Move the playhead; says "page" when another stretch comes into view.
  move(position) {
    const before = this.start;
    this.position = Math.min(position, this.length);
    if (this.start !== before) {
      this.mel = null;
      this.draw();
      this.dispatchEvent(new Event("page"));
    } else this.#over();
  }

  draw() {
    this.#roll();
    this.#mel();
    this.#over();
    this.#strip();
  }

  #seek(event) {
    if (!this.score) return;
    const box = this.canvases.over.getBoundingClientRect();
    const to = this.start + ((event.clientX - box.left) / box.width) * this.span;
    this.dispatchEvent(new CustomEvent("seek", { detail: Math.min(Math.max(to, 0), this.length) }));
  }

  #each(from, to, draw) {
    const colours = notes();
    (this.score?.tracks ?? []).forEach((track, index) => {
      if (track.is_drum) return;
      for (let i = 0; i < track.starts.length; i++)
        if (track.ends[i] >= from && track.starts[i] <= to)
          draw(track.starts[i], track.ends[i], track.keys[i], track.velocities[i], colours[index % colours.length]);
    });
  }

  #roll() {
    const { context: c, width, height } = prepare(this.canvases.roll);
    if (!this.score) return;
    const x = (second) => ((second - this.start) / this.span) * width;
    const row = height / (this.high - this.low + 1);
    c.fillStyle = css("line");
    c.globalAlpha = 0.45;
    for (let key = Math.ceil(this.low / 12) * 12; key <= this.high; key += 12) c.fillRect(0, (this.high - key + 1) * row, width, 1);
    for (let second = Math.ceil(this.start); second <= this.stop; second++) c.fillRect(x(second), 0, 1, height);
    this.#each(this.start, this.start + this.span, (start, end, key, velocity, colour) => {
      c.globalAlpha = 0.35 + (0.65 * velocity) / 127;
      c.fillStyle = colour;
      c.beginPath();
      c.roundRect(x(start), (this.high - key) * row, Math.max(x(end) - x(start) - 1, 2.5), Math.max(row - 1, 2.5), Math.min(3, row / 2));
      c.fill();
    });
    c.globalAlpha = 1;
  }

  #mel() {
    const { context: c, width, height } = prepare(this.canvases.mel);
    if (!this.mel || !this.score) return;
    const { values, frames, bands } = this.mel;
    const [low, high] = DECIBELS;
    const at = (x, y) => (NEPER * values[x * bands + bands - 1 - y] - low) / (high - low);
    c.imageSmoothingQuality = "high";
    c.drawImage(picture(frames, bands, at, "mel"), 0, 0, ((this.stop - this.start) / this.span) * width, height);
  }

  #over() {
    const { context: c, width, height } = prepare(this.canvases.over);
    if (!this.score) return;
    const { position } = this;
    const roll = this.canvases.roll.clientHeight;
    const row = roll / (this.high - this.low + 1);
    const x = (second) => ((second - this.start) / this.span) * width;
    c.fillStyle = css("ink");
    this.#each(position, position, (start, end, key) => {
      c.beginPath();
      c.roundRect(x(start), (this.high - key) * row, Math.max(x(end) - x(start) - 1, 2.5), Math.max(row - 1, 2.5), Math.min(3, row / 2));
      c.fill();
    });
    c.fillStyle = css("panel");
    c.fillRect(x(position) - 2, 0, 4, height);
    c.fillStyle = css("accent");
    c.fillRect(x(position) - 1, 0, 2, height);
    this.#strip();
  }

  #strip() {
    const { context: c, width, height } = prepare(this.canvases.whole);
    if (!this.score) return;
    const x = (second) => (second / this.length) * width;
    if (this.drawn?.width !== width || this.drawn?.colour !== css("soft")) {
      const scale = window.devicePixelRatio || 1;
      const canvas = new OffscreenCanvas(width * scale, height * scale); // once: a score may have thousands of notes
      const once = canvas.getContext("2d");
      once.scale(scale, scale);
      once.fillStyle = css("soft");
      const row = (height - 8) / (this.high - this.low + 1);
      this.#each(0, this.length, (start, end, key) =>
        once.fillRect(x(start), 4 + (this.high - key) * row, Math.max(x(end - start), 1), Math.max(row, 1.2)));
      this.drawn = { width, colour: css("soft"), canvas };
    }
    c.drawImage(this.drawn.canvas, 0, 0, width, height);
    c.fillStyle = css("accent");
    c.globalAlpha = 0.16;
    c.fillRect(x(this.start), 0, x(this.stop - this.start), height);
    c.globalAlpha = 1;
    c.fillRect(x(this.position) - 1, 0, 2, height);
  }
}
