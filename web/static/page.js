// @ts-check
// The elements of index.html that scripts read or change, each with its type.

/**
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
function find(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} with the id ${id}`);
  return found;
}

export const page = {
  notices: find("notices", HTMLElement),
  model: find("model", HTMLSelectElement),
  vocoder: find("vocoder", HTMLSelectElement),
  keys: find("keys", HTMLButtonElement),
  theme: find("theme", HTMLButtonElement),
  help: find("help", HTMLDialogElement),
  drop: find("drop", HTMLElement),
  // timbre
  stage: find("stage", HTMLElement),
  map: find("map", HTMLCanvasElement),
  mapVeil: find("map-veil", HTMLElement),
  place: find("place", HTMLElement),
  said: find("said", HTMLElement),
  low: find("low", HTMLElement),
  high: find("high", HTMLElement),
  find: find("find", HTMLInputElement),
  instruments: find("instruments", HTMLElement),
  // recordings
  takes: find("takes", HTMLElement),
  noTakes: find("no-takes", HTMLElement),
  // mixer
  mixer: find("mixer", HTMLElement),
  strips: find("strips", HTMLElement),
  // score
  score: find("score", HTMLElement),
  scoreTitle: find("score-title", HTMLElement),
  scoreAbout: find("score-about", HTMLElement),
  examples: find("examples", HTMLSelectElement),
  recorded: find("recorded", HTMLButtonElement),
  file: find("file", HTMLInputElement),
  clear: find("clear", HTMLButtonElement),
  sheet: find("sheet", HTMLElement),
  sheetVeil: find("sheet-veil", HTMLElement),
  roll: find("roll", HTMLCanvasElement),
  mel: find("mel", HTMLCanvasElement),
  melTag: find("mel-tag", HTMLElement),
  over: find("over", HTMLCanvasElement),
  whole: find("whole", HTMLCanvasElement),
  seek: find("seek", HTMLInputElement),
  // transport
  play: find("play", HTMLButtonElement),
  now: find("now", HTMLElement),
  length: find("length", HTMLElement),
  loop: find("loop", HTMLButtonElement),
  volume: find("volume", HTMLInputElement),
  playing: find("playing", HTMLElement),
  download: find("download", HTMLAnchorElement),
  copy: find("copy", HTMLButtonElement),
};

/** The buttons of the instruments, below the map. */
export const instrumentButtons = () => page.instruments.querySelectorAll("button");

/** @param {number} seconds @returns {string} minutes and seconds */
export const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

/** @param {string} name of a score's file @returns {string} the name without its extension */
export const stem = (name) => name.replace(/\.[a-z0-9]{1,8}$/i, "");

/**
 * A button.
 * @param {string | Node} content
 * @param {() => void} act what a click does
 * @param {string} [className]
 */
export function makeButton(content, act, className = "") {
  const button = document.createElement("button");
  button.type = "button";
  if (className) button.className = className;
  button.append(content);
  button.addEventListener("click", act);
  return button;
}
