// @ts-check
// The list of recordings: a row each, with its state, its waveform and its buttons.

import * as api from "./api.js";
import { css, prepare } from "./colours.js";
import { makeButton } from "./page.js";

/** @import { Take } from "./take.js" */
/** @typedef {(take: Take) => void} Act */
/** @typedef {ReturnType<typeof makeRow>} Row */

const ICONS = {
  again: "M4 10a6 6 0 1 0 2-4.5M4 3v4h4",
  save: "M10 3v9m-4-4 4 4 4-4M4 16h12",
  copy: "M7 7h9v9H7zM13 7V4H4v9h3",
  remove: "m5 5 10 10M15 5 5 15",
};

export class TakeList {
  /** @type {Map<Take, Row>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list
   * @param {{ select: Act, again: Act, copy: Act, remove: Act }} acts what the buttons of a row do
   */
  constructor(list, acts) {
    this.list = list;
    this.acts = acts;
  }

  /** @param {Take} take */
  add(take) {
    const row = makeRow(take, this.acts);
    this.list.prepend(row.item);
    this.#rows.set(take, row);
    take.on("change", () => this.#update(take));
    this.#update(take);
  }

  /** @param {Take} take */
  remove(take) {
    this.#rows.get(take)?.item.remove();
    this.#rows.delete(take);
  }

  /** @param {Take | null} selected */
  select(selected) {
    for (const [take, { item, letter }] of this.#rows) {
      item.classList.toggle("on", take === selected);
      letter.setAttribute("aria-pressed", String(take === selected));
    }
  }

  redraw() {
    for (const [take, { wave }] of this.#rows) drawWave(wave, take);
  }

  /** @param {Take} take */
  #update(take) {
    const row = this.#rows.get(take);
    if (!row) return;
    const { item, about, save, copy, again, wave } = row;
    about.textContent = take.about;
    item.dataset.state = take.state;
    item.classList.toggle("bad", take.state === "failed");
    save.hidden = take.state !== "ready" || !take.job;
    copy.hidden = !take.command;
    again.hidden = take.state !== "failed" && !(take.state === "ready" && !take.job);
    if (!save.hidden) save.href = api.resultURL(take.job, "wav");
    drawWave(wave, take);
  }
}

/**
 * @param {Take} take
 * @param {{ select: Act, again: Act, copy: Act, remove: Act }} acts
 */
function makeRow(take, acts) {
  const item = document.createElement("li");
  item.className = "take";
  const letter = labelled(take.letter, `Listen to recording ${take.letter}`, () => acts.select(take));
  letter.className = "letter";
  const title = document.createElement("b");
  title.textContent = title.title = take.label;
  const about = document.createElement("small");
  const save = document.createElement("a");
  save.setAttribute("aria-label", `Download recording ${take.letter} as WAV`);
  save.title = "Download WAV";
  save.append(icon("save"));
  const copy = labelled(icon("copy"), `Copy the command line of recording ${take.letter}`, () => acts.copy(take));
  const again = labelled(icon("again"), `Render recording ${take.letter} again`, () => acts.again(take));
  const remove = labelled(icon("remove"), `Remove recording ${take.letter}`, () => acts.remove(take));
  const tools = document.createElement("span");
  tools.className = "do";
  tools.append(again, save, copy, remove);
  const wave = document.createElement("canvas");
  item.append(letter, title, about, tools, wave);
  return { item, letter, about, save, copy, again, wave };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Take} take
 */
function drawWave(canvas, take) {
  const { context: c, width, height } = prepare(canvas);
  c.fillStyle = css("line");
  c.fillRect(0, height / 2, width, 1);
  if (!take.filled) return;
  c.fillStyle = css("accent");
  const per = take.samples.length / width; // samples of a pixel, of which every seventh is looked at
  for (let x = 0; x < width && x * per < take.filled; x += 2) {
    const end = Math.min((x + 2) * per, take.filled);
    let high = 0;
    for (let i = Math.floor(x * per); i < end; i += 7) high = Math.max(high, Math.abs(take.samples[i]));
    const size = Math.max(1, high * take.gain * height);
    c.fillRect(x, (height - size) / 2, 1.4, size);
  }
}

/**
 * @param {string | Node} content
 * @param {string} label
 * @param {() => void} act
 */
function labelled(content, label, act) {
  const button = makeButton(content, act);
  button.title = label;
  button.setAttribute("aria-label", label);
  return button;
}

/** @param {keyof typeof ICONS} name */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
