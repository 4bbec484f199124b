// @ts-check
// The mixer: timbre, level, mute and solo of each track, for the recordings that are made from now on.

import * as kept from "./kept.js";
import { makeButton, page } from "./page.js";
import { state } from "./state.js";
import { map } from "./widgets.js";

/** @import { TrackInfo } from "../messages.js" */
/**
 * level: decibels. timbre: an instrument's name; "" is what is picked on the map.
 * @typedef {{ level: number, mute: boolean, solo: boolean, timbre: string }} Strip
 */
/**
 * score: its id. strips: by the track's number, which is that of `m2m score`.
 * @typedef {{ score: string, strips: Record<number, Strip> }} Mixer
 */

const [LOWEST, HIGHEST] = [-30, 12]; // decibels

/** @type {Mixer} */
let mixer = { score: "", strips: {} };

/** @returns {Strip} */
const flat = () => ({ level: 0, mute: false, solo: false, timbre: "" });

/** What the mixer asks for, by the words of --map and --mix. */
export function mixed() {
  /** @type {Record<string, string>} */
  const timbres = {};
  /** @type {Record<string, string>} */
  const mix = {};
  const strips = Object.entries(mixer.strips);
  const alone = strips.some(([, strip]) => strip.solo);
  for (const [number, { level, mute, solo, timbre }] of strips) {
    const track = `track:${number}`;
    if (timbre && map.map?.instruments.some(({ name }) => name === timbre)) timbres[track] = timbre;
    if (mute || (alone && !solo)) mix[track] = "mute";
    else if (level) mix[track] = `${level}dB`;
  }
  return { map: timbres, mix };
}

/** Show the tracks of the score, where it has several. */
async function show() {
  const tracks = state.score?.tracks ?? [];
  page.mixer.hidden = tracks.length < 2;
  const id = state.score?.id ?? "";
  if (mixer.score !== id) {
    mixer = { score: id, strips: {} };
    const last = await kept.recallMixer();
    if (last?.score === id && state.score?.id === id) mixer = last;
  }
  for (const { number } of tracks) mixer.strips[number] ??= flat();
  page.strips.replaceChildren(...tracks.map(makeStrip));
}

/** @param {TrackInfo} track */
function makeStrip({ number, name, program, is_drum: drums }) {
  const strip = mixer.strips[number];
  const item = document.createElement("li");
  const title = document.createElement("b");
  const voice = map.map?.instruments.find(({ programs }) => programs.includes(program))?.name ?? `program ${program}`;
  title.textContent = `${number} ${name || (drums ? "drums" : voice)}`;
  title.title = title.textContent;
  const level = document.createElement("input");
  Object.assign(level, { type: "range", min: LOWEST, max: HIGHEST, step: 1, value: strip.level });
  level.setAttribute("aria-label", `Level of track ${number}`);
  const shown = document.createElement("output");
  const tell = () => {
    shown.textContent = `${strip.level > 0 ? "+" : ""}${strip.level} dB`;
    level.setAttribute("aria-valuetext", shown.textContent);
    kept.keepMixer(mixer);
  };
  level.addEventListener("input", () => ((strip.level = Number(level.value)), tell()));
  level.addEventListener("dblclick", () => ((strip.level = 0), (level.value = "0"), tell()));
  tell();
  item.append(title, drums ? document.createElement("span") : timbreOf(number, strip), level, shown);
  for (const kind of /** @type {const} */ (["mute", "solo"])) {
    const press = makeButton(kind[0].toUpperCase(), () => {
      strip[kind] = !strip[kind];
      press.setAttribute("aria-pressed", String(strip[kind]));
      kept.keepMixer(mixer);
    }, "toggle");
    press.setAttribute("aria-pressed", String(strip[kind]));
    press.setAttribute("aria-label", `${kind === "mute" ? "Mute" : "Solo"} track ${number}`);
    press.title = kind;
    item.append(press);
  }
  return item;
}

/** @param {number} number @param {Strip} strip */
function timbreOf(number, strip) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", `Timbre of track ${number}`);
  select.add(new Option("as picked", ""));
  for (const { name } of map.map?.instruments ?? []) select.add(new Option(name));
  select.value = strip.timbre;
  if (select.selectedIndex < 0) select.value = "";
  select.addEventListener("change", () => {
    strip.timbre = select.value;
    kept.keepMixer(mixer);
  });
  return select;
}

state.on("score", show);
state.on("model", show);
