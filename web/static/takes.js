// A take is one recording: a timbre, what made it, and its samples as they arrive.

import * as api from "./api.js";
import { css, prepare } from "./colours.js";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ICONS = {
  again: "M4 10a6 6 0 1 0 2-4.5M4 3v4h4",
  save: "M10 3v9m-4-4 4 4 4-4M4 16h12",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  remove: "m5 5 10 10M15 5 5 15",
};
let count = 0;

export class Take extends EventTarget {
  constructor({ timbre, label, places, seconds, score, model, vocoder }) {
    super();
    Object.assign(this, { timbre, label, places, score, model, vocoder, length: seconds });
    this.letter = LETTERS[count++ % LETTERS.length];
    this.samples = new Float32Array(0);
    this.filled = 0;
    this.peak = 0;
    this.rate = 0;
    this.mels = new Map(); // first second of a view -> its mel
    this.state = "asking";
    this.message = "";
    this.command = "";
  }

  get seconds() {
    return this.rate ? this.samples.length / this.rate : 0;
  }

  get complete() {
    return this.rate > 0 && this.filled === this.samples.length;
  }

  // What brings the loudest sample so far to full scale.
  get gain() {
    return 1 / Math.max(1, this.peak);
  }

  #tell(state, message = "") {
    Object.assign(this, { state, message });
    this.dispatchEvent(new Event("change"));
  }

  async render() {
    this.stopped = new AbortController();
    this.samples = new Float32Array(0);
    this.filled = this.peak = this.rate = 0;
    const { score, model, vocoder, timbre } = this;
    try {
      const job = await this.#place({ score, model, vocoder, timbre });
      if (!job) return;
      this.job = job.id;
      this.command = job.command;
      this.#tell("rendering");
      await api.stream(job.id, (samples, rate) => this.#begin(samples, rate), (block) => this.#add(block), this.stopped.signal);
      if (!this.complete) {
        const { message } = await api.job(job.id);
        throw new Error(message || "The sound broke off.");
      }
      this.#tell("ready");
    } catch (error) {
      if (error.name !== "AbortError") this.#tell("failed", error.message);
    }
  }

  // A place in the queue; while it is full, ask again.
  async #place(wanted) {
    for (;;) {
      try {
        return await api.begin(wanted);
      } catch (error) {
        if (error.kind === "no-score") {
          this.dispatchEvent(new Event("forgotten"));
        }
        if (error.status !== 503 && error.status !== 429) throw error;
        for (let left = error.retry ?? 2; left > 0; left--) {
          this.#tell("queued", `${error.status === 503 ? "The queue is full" : "Others of yours go first"}. Asking again in ${left} s.`);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          if (this.stopped.signal.aborted) return null;
        }
      }
    }
  }

  #begin(samples, rate) {
    this.samples = new Float32Array(samples);
    this.rate = rate;
  }

  #add(block) {
    this.samples.set(block.subarray(0, this.samples.length - this.filled), this.filled);
    this.filled = Math.min(this.filled + block.length, this.samples.length);
    for (const sample of block) this.peak = Math.max(this.peak, Math.abs(sample));
    this.#tell("rendering");
  }

  stop() {
    this.stopped?.abort();
    if (this.job) api.cancel(this.job);
  }

  get about() {
    const made = `${this.vocoder} · ${this.conditioner ?? this.model}`;
    if (this.state === "asking") return "asking for it…";
    if (this.state === "queued" || this.state === "failed") return this.message;
    if (this.state === "rendering") return `${made} · ${Math.round((100 * this.filled) / (this.samples.length || 1))} %`;
    return made;
  }
}

// The list of takes. `does`: select, again, copy and remove, each called with a take.
export class TakeList {
  rows = new Map();

  constructor(list, does) {
    Object.assign(this, { list, does });
  }

  add(take) {
    const row = document.createElement("li");
    row.className = "take";
    const letter = button(take.letter, `Listen to recording ${take.letter}`, () => this.does.select(take));
    letter.className = "letter";
    const title = document.createElement("b");
    title.textContent = title.title = take.label;
    const small = document.createElement("small");
    const save = document.createElement("a");
    save.setAttribute("aria-label", `Download recording ${take.letter} as WAV`);
    save.title = "Download WAV";
    save.append(icon("save"));
    const copy = button(icon("copy"), `Copy the command line of recording ${take.letter}`, () => this.does.copy(take));
    const again = button(icon("again"), `Render recording ${take.letter} again`, () => this.does.again(take));
    const remove = button(icon("remove"), `Remove recording ${take.letter}`, () => this.does.remove(take));
    const tools = document.createElement("span");
    tools.className = "do";
    tools.append(again, save, copy, remove);
    const wave = document.createElement("canvas");
    row.append(letter, title, small, tools, wave);
    this.list.prepend(row);
    this.rows.set(take, { row, letter, small, save, copy, again, wave });
    take.addEventListener("change", () => this.update(take));
    this.update(take);
  }

  remove(take) {
    this.rows.get(take)?.row.remove();
    this.rows.delete(take);
  }

  select(chosen) {
    for (const [take, { row, letter }] of this.rows) {
      row.classList.toggle("on", take === chosen);
      letter.setAttribute("aria-pressed", String(take === chosen));
    }
  }

  update(take) {
    const parts = this.rows.get(take);
    if (!parts) return;
    const { row, small, save, copy, again, wave } = parts;
    small.textContent = take.about;
    row.dataset.state = take.state;
    row.classList.toggle("bad", take.state === "failed");
    save.hidden = take.state !== "ready";
    copy.hidden = !take.command;
    again.hidden = take.state !== "failed";
    if (take.state === "ready") save.href = api.resultURL(take.job, "wav");
    drawWave(wave, take);
  }

  redraw() {
    for (const [take, { wave }] of this.rows) drawWave(wave, take);
  }
}

function drawWave(canvas, take) {
  const { context: c, width, height } = prepare(canvas);
  c.fillStyle = css("line");
  c.fillRect(0, height / 2, width, 1);
  if (!take.filled) return;
  c.fillStyle = css("accent");
  const per = take.samples.length / width;
  for (let x = 0; x < width && x * per < take.filled; x += 2) {
    let high = 0;
    for (let i = Math.floor(x * per); i < (x + 2) * per && i < take.filled; i += 7) high = Math.max(high, Math.abs(take.samples[i]));
    const size = Math.max(1, high * take.gain * height);
    c.fillRect(x, (height - size) / 2, 1.4, size);
  }
}

function button(content, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.append(content);
  made.title = label;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
