// @ts-check
// The section of the map: loads and shades it, and plays or shows what is picked there.

import * as api from "./api.js";
import { paint } from "./mel.js";
import { veil } from "./notices.js";
import { instrumentButtons, makeButton, page } from "./page.js";
import { state } from "./state.js";
import { record } from "./takes.js";
import { map } from "./widgets.js";

/** @import { Instrument } from "../messages.js" */
/** @import { Place } from "./geometry.js" */

const MANY = 20; // instruments, among which one is looked for by its name

/** @type {NodeListOf<HTMLInputElement>} */
const shadings = document.querySelectorAll("[name=shade]");

/**
 * Cover the map and its buttons: a place on it means nothing to the model that is being loaded.
 * @param {string} text
 */
export function closeMap(text) {
  veil(page.mapVeil, { busy: true, text });
  page.map.inert = page.instruments.inert = true;
  state.hovered = null;
}

/** Load the chosen model's map. */
export async function showMap() {
  const { model } = state.chosen;
  closeMap("Loading the model…");
  try {
    const drawn = await api.map(model);
    if (model !== state.chosen.model || state.loading.model) return;
    if (map.map?.model !== model) map.show(drawn);
    page.mapVeil.hidden = true;
    page.map.inert = page.instruments.inert = false;
    showInstruments(drawn.instruments);
    state.emit("model", null);
    describe(map.point);
    showShade();
  } catch (error) {
    const buttons = /** @type {[string, () => void][]} */ ([["Try again", showMap]]);
    veil(page.mapVeil, { title: "No map", text: api.messageOf(error), bad: true, buttons });
  }
}

async function showShade() {
  const { model } = state.chosen;
  const by = shadedBy();
  page.low.textContent = "shading…";
  page.high.textContent = "";
  try {
    const shade = await api.shade(model, by);
    if (model !== state.chosen.model || by !== shadedBy()) return;
    map.shade = shade;
    const [low, high] = [Math.min(...shade.values), Math.max(...shade.values)].map(Math.round);
    page.low.textContent = String(low);
    page.high.textContent = `${high} ${shade.unit}`;
    page.stage.dataset.shade = by;
  } catch {
    page.low.textContent = "no shade";
  }
  map.draw();
}

const shadedBy = () => [...shadings].find((radio) => radio.checked)?.value ?? "";

/** @param {Instrument[]} instruments */
function showInstruments(instruments) {
  const written = makeButton("as written", () => record(null, "as written", []), "written");
  written.title = "each track with the instrument nearest to its own program";
  const buttons = instruments.map(({ name, x, y }) => {
    const press = makeButton(name, () => record(name, name, [[x, y]]));
    press.addEventListener("focus", () => {
      if (!press.matches(":focus-visible")) return;
      map.point = [x, y];
      map.draw();
      hover(map.point);
    });
    return press;
  });
  page.instruments.replaceChildren(written, ...buttons);
  page.find.hidden = instruments.length < MANY;
  page.find.value = "";
  enableInstruments();
}

function enableInstruments() {
  for (const press of instrumentButtons()) press.disabled = !state.score;
}

/** @param {Place} place */
function describe(place) {
  const value = map.value(place);
  page.place.textContent = `${map.words(place)}${value ? ` · ${value}` : ""}`;
}

/** @param {Place | null} place under the pointer; null where it has left the map */
function hover(place) {
  if (place) describe(place);
  state.hovered = place && { timbre: map.text(place), label: map.words(place) };
  paint();
}

/** @param {Place[]} places a path, along which the piece morphs from its beginning to its end */
function recordPath(places) {
  const seconds = state.score?.seconds ?? 0;
  const time = (/** @type {number} */ i) => +((i / (places.length - 1)) * seconds).toFixed(2);
  const text = places.map((place, i) => `${time(i)}:${map.text(place)}`).join("; ");
  const [from, to] = [places[0], places[places.length - 1]].map((place) => map.words(place).split(" / ")[0]);
  record(text, from === to ? `around ${from}` : `${from} → ${to}`, places);
}

page.find.addEventListener("input", () => {
  const words = page.find.value.trim().toLowerCase().split(/[\s-]+/);
  for (const press of instrumentButtons()) press.hidden = !words.every((word) => press.textContent.includes(word));
});
map.on("hover", hover);
map.on("move", () => (page.said.textContent = page.place.textContent));
map.on("node", (count) => (page.said.textContent = `Path of ${count} points`));
map.on("pick", (place) => record(map.text(place), map.words(place), [place]));
map.on("path", recordPath);
state.on("score", () => {
  enableInstruments();
  if (state.score?.recording) hover(null);
  else if (state.score && map.map && !state.loading.model) hover(map.point);
});
for (const radio of shadings) radio.addEventListener("change", showShade);
