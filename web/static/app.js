// The page: what the user does to map, score and transport becomes requests, sound and pictures.

import * as api from "./api.js";
import { stops } from "./colours.js";
import { along, TimbreMap } from "./map.js";
import { Player } from "./player.js";
import { Sheet } from "./sheet.js";
import { Take, TakeList } from "./takes.js";

const MOST_TAKES = 8;
const $ = (id) => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

let limits = null;
let components = null;
let score = null; // as the server knows it
let file = null; // { data, name } of an uploaded one, to send it again to a server that has forgotten it
let chosen = { model: "", vocoder: "" };
let takes = [];
let glance = null; // what the mel shows: { timbre, label } under the pointer, or null for what is selected
const player = new Player();
const map = new TimbreMap($("map"));
const sheet = new Sheet({ roll: $("roll"), mel: $("mel"), over: $("over"), whole: $("whole") });
const list = new TakeList($("takes"), { select: switchTo, again: (take) => render(take), copy: copyCommand, remove: removeTake });

// ---- notices: one a kind, in a place of their own, so that nothing moves

const notices = new Map();

function notify(kind, title, text, { bad = false, action, act } = {}) {
  dismiss(kind);
  const box = document.createElement("div");
  box.className = `notice${bad ? " bad" : ""}`;
  box.dataset.kind = kind;
  const words = document.createElement("div");
  const strong = document.createElement("b");
  strong.textContent = title;
  words.append(strong, text);
  box.append(words);
  const press = document.createElement("button");
  press.type = "button";
  press.textContent = action ?? "Dismiss";
  press.addEventListener("click", () => (dismiss(kind), act?.()));
  box.append(press);
  $("notices").append(box);
  notices.set(kind, box);
  return box;
}

function dismiss(kind) {
  notices.get(kind)?.remove();
  notices.delete(kind);
}

// A state that covers a picture: loading, empty, or an error with what can be done about it.
function veil(id, { title = "", text = "", bad = false, busy = false, buttons = [] } = {}) {
  const box = $(id);
  box.hidden = false;
  box.className = `veil${bad ? " bad" : ""}`;
  box.replaceChildren();
  if (busy) box.append(Object.assign(document.createElement("span"), { className: "pulse" }));
  if (title) box.append(Object.assign(document.createElement("h3"), { textContent: title }));
  if (text) box.append(Object.assign(document.createElement("p"), { textContent: text }));
  const row = Object.assign(document.createElement("div"), { className: "row" });
  buttons.forEach(([label, act], i) => {
    const press = Object.assign(document.createElement("button"), { type: "button", className: i ? "button" : "button strong" });
    press.textContent = label;
    press.addEventListener("click", act);
    row.append(press);
  });
  if (buttons.length) box.append(row);
}

// ---- the server: there, gone, back

let gone = false;

api.onLost(async () => {
  if (gone) return;
  gone = true;
  notify("server", "The server is gone.", "What has arrived still plays. Looking for it…", { bad: true, action: "Hide" });
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    try {
      await api.about();
      break;
    } catch {
      /* still gone */
    }
  }
  gone = false;
  notify("server", "The server is back.", "Go on where you were.");
  setTimeout(() => gone || dismiss("server"), 4000);
  if (!components) return start();
  await resend();
  if (!map.map) await showMap();
});

// A server that was started anew has forgotten what was uploaded.
async function resend() {
  if (file) await api.upload(file.data, file.name).catch(() => {});
}

// ---- components

function fill(select, parts, value) {
  select.replaceChildren(
    ...parts.map((part) => {
      const option = new Option(part.usable ? part.title ?? part.name : `${part.title ?? part.name} (not usable)`, part.name);
      option.title = part.note || part.summary || "";
      return option;
    }),
  );
  select.value = value;
  select.disabled = false;
}

function showComponents() {
  const models = components.models.map((model) => {
    const alike = components.models.filter((other) => other.conditioner === model.conditioner).length > 1;
    return { ...model, title: alike ? `${model.conditioner} · ${model.name}` : model.conditioner };
  });
  const trained = new Set(components.models.map((model) => model.conditioner));
  const untrained = components.conditioners
    .filter((part) => !trained.has(part.name))
    .map((part) => ({ ...part, name: `?${part.name}`, title: part.name, usable: false }));
  fill($("model"), [...models, ...untrained], chosen.model);
  fill($("vocoder"), components.vocoders, chosen.vocoder);
}

async function choose(kind, name) {
  const select = $(kind);
  const before = chosen[kind];
  const untrained = name.startsWith("?") && components.conditioners.find((part) => part.name === name.slice(1));
  select.setAttribute("aria-busy", "true");
  try {
    if (untrained) throw new api.Problem(409, { kind: "not-usable", message: untrained.note });
    const loaded = await api.ready({ ...chosen, [kind]: name });
    chosen = { ...chosen, [kind]: name };
    dismiss("component");
    caution(loaded);
    if (kind === "model") await showMap();
  } catch (error) {
    select.value = before;
    notify("component", `${name.replace("?", "")} cannot be used.`, error.message, { bad: true, action: `Stay with ${title(before)}` });
    components = await api.components().catch(() => components);
    showComponents();
  } finally {
    select.removeAttribute("aria-busy");
  }
}

// What a vocoder says of itself, such as that its weights are not yet good.
function caution({ vocoder, notice }) {
  if (notice) notify("component", `About ${vocoder}`, notice);
}

const title = (name) => components.models.find((model) => model.name === name)?.conditioner ?? name;

// ---- the map

async function showMap() {
  const { model } = chosen;
  veil("map-veil", { busy: true, text: "Loading the model…" });
  try {
    const drawn = await api.map(model);
    if (model !== chosen.model) return;
    map.show(drawn);
    $("map-veil").hidden = true;
    showInstruments(drawn.instruments);
    place(map.point);
    paintShade();
  } catch (error) {
    veil("map-veil", { title: "No map", text: error.message, bad: true, buttons: [["Try again", showMap]] });
  }
}

async function paintShade() {
  const { model } = chosen;
  const by = document.querySelector("[name=shade]:checked").value;
  $("low").textContent = "shading…";
  $("high").textContent = "";
  try {
    const shade = await api.shade(model, by);
    if (model !== chosen.model || by !== document.querySelector("[name=shade]:checked").value) return;
    map.shade = shade;
    const [low, high] = [Math.min(...shade.values), Math.max(...shade.values)].map(Math.round);
    $("low").textContent = low;
    $("high").textContent = `${high} ${shade.unit}`;
    $("stage").dataset.shade = by;
  } catch {
    $("low").textContent = "no shade";
  }
  map.draw();
}

function showInstruments(instruments) {
  const written = document.createElement("button");
  written.textContent = "as written";
  written.title = "each track with the instrument nearest to its own program";
  written.className = "written";
  written.addEventListener("click", () => record(null, "as written", []));
  const buttons = instruments.map((one) => {
    const press = document.createElement("button");
    press.textContent = one.name;
    press.addEventListener("focus", () => {
      if (!press.matches(":focus-visible")) return;
      map.point = [one.x, one.y];
      map.draw();
      hover(map.point);
    });
    press.addEventListener("click", () => record(one.name, one.name, [[one.x, one.y]]));
    return press;
  });
  $("instruments").replaceChildren(written, ...buttons);
  for (const press of $("instruments").children) {
    press.type = "button";
    press.disabled = !score;
  }
}

function place(at) {
  const shade = map.value(at);
  $("place").textContent = `${map.words(at)}${shade ? ` · ${shade}` : ""}`;
}

function hover(at) {
  if (!at) {
    glance = null;
    return paint();
  }
  place(at);
  glance = { timbre: map.text(at), label: map.words(at) };
  paint();
}

map.addEventListener("hover", ({ detail }) => hover(detail));
map.addEventListener("move", ({ detail }) => ($("said").textContent = $("place").textContent));
map.addEventListener("node", ({ detail }) => ($("said").textContent = `Path of ${detail} points`));
map.addEventListener("pick", ({ detail }) => record(map.text(detail), map.words(detail), [detail]));
map.addEventListener("path", ({ detail }) => {
  const seconds = score?.seconds ?? 0;
  const text = detail.map((at, i) => `${+((i / (detail.length - 1)) * seconds).toFixed(2)}:${map.text(at)}`).join("; ");
  const [from, to] = [detail[0], detail.at(-1)].map((at) => map.words(at).split(" / ")[0]);
  record(text, from === to ? `around ${from}` : `${from} → ${to}`, detail);
});

// ---- the mel: of what the pointer is over, else of what is selected; one request at a time, the latest wish wins

let asked = null;
let wish = null;

function paint() {
  const take = player.take;
  const what = glance ?? (take && take.score === score?.id ? { timbre: take.timbre, label: take.label, take } : null);
  $("mel-tag").textContent = what && score ? `${what.take ? `${what.take.letter} · ` : ""}${what.label}` : "";
  if (!what || !score) return;
  const { start, stop } = sheet;
  const kept = what.take?.mels.get(start);
  if (kept) return sheet.paint(kept);
  wish = { key: `${score.id} ${chosen.model} ${what.timbre} ${start}`, take: what.take, start,
    wanted: { score: score.id, model: what.take?.model ?? chosen.model, timbre: what.timbre, start, stop } };
  if (!asked) fetchMel();
}

async function fetchMel() {
  while (wish && wish.key !== asked?.key) {
    asked = wish;
    wish = null;
    const began = performance.now();
    try {
      const mel = await api.mel(asked.wanted);
      asked.take?.mels.set(asked.start, mel);
      if (asked.wanted.score === score?.id && asked.start === sheet.start) {
        sheet.paint(mel);
        $("sheet").dataset.mel = asked.wanted.timbre ?? "as written";
        $("sheet").dataset.milliseconds = Math.round(performance.now() - began);
      }
    } catch (error) {
      if (error.kind === "no-score") await resend();
    }
  }
  asked = null;
}

sheet.addEventListener("page", paint);
sheet.addEventListener("seek", ({ detail }) => seek(detail));

// ---- the score

async function open(blob, name) {
  if (limits && blob.size > limits.upload_kb * 1024)
    return refuse("Too large", `${name} has ${Math.ceil(blob.size / 1024).toLocaleString("en")} kB; ${limits.upload_kb} kB are the most this server takes. Half an hour of dense piano fits.`);
  veil("sheet-veil", { busy: true, text: `Reading ${name}…` });
  try {
    const data = await blob.arrayBuffer();
    show(await api.upload(data, name), { data, name });
  } catch (error) {
    const titles = { "not-midi": "Not a MIDI file", "too-large": "Too large", "too-long": "Too long", "nothing-to-play": "Nothing to play" };
    refuse(titles[error.kind] ?? "That did not work", error.message);
  }
}

function refuse(title, text) {
  veil("sheet-veil", { title, text, bad: true, buttons: [["Choose another", () => $("file").click()], [score ? "Back to the score" : "Play the example", score ? () => ($("sheet-veil").hidden = true) : example]] });
}

async function example() {
  const first = $("examples").options[1]?.value;
  if (first) await openExample(first);
}

async function openExample(id) {
  veil("sheet-veil", { busy: true, text: "Reading the example…" });
  try {
    show(await api.getScore(id), null);
  } catch (error) {
    refuse("That did not work", error.message);
  }
}

function show(read, sent) {
  score = read;
  file = sent;
  player.pause();
  player.seek(0);
  sheet.show(score);
  $("score").dataset.score = score?.id ?? "";
  $("score-title").textContent = score ? score.name.replace(/\.midi?$/i, "") : "Score";
  $("score-about").textContent = score ? [`${clock(score.seconds)}, ${score.notes.toLocaleString("en")} notes`, ...score.omissions].join(" · ") : "";
  $("score-about").title = $("score-about").textContent;
  $("roll").setAttribute("aria-label", score ? `Piano roll of ${score.name}, ${score.notes} notes, ${clock(score.seconds)} long` : "Piano roll");
  $("clear").hidden = !score;
  $("seek").disabled = !score;
  $("seek").max = sheet.length || 1;
  for (const press of $("instruments").children) press.disabled = !score;
  $("length").textContent = `/ ${clock(sheet.length)}`;
  if (score) $("sheet-veil").hidden = true;
  else {
    veil("sheet-veil", {
      title: "What shall it play?",
      text: "Drop a MIDI file anywhere on this page. It stays on the machine that serves it.",
      buttons: [["Open a MIDI file", () => $("file").click()], ["Play the example", example]],
    });
  }
  $("examples").value = score && [...$("examples").options].some((option) => option.value === score.id) ? score.id : "";
  for (const take of [...takes]) if (take.score !== score?.id) removeTake(take);
  if (score && map.map) {
    glance = null;
    hover(map.point);
  }
  transport();
}

// ---- takes

function record(timbre, label, places) {
  if (!score) {
    notify("empty", "There is no score yet.", "Drop a MIDI file on this page, or play the example.", { action: "Play the example", act: example });
    return;
  }
  const take = new Take({ timbre, label, places, seconds: score.seconds, score: score.id, ...chosen });
  take.conditioner = title(chosen.model);
  while (takes.length >= MOST_TAKES) removeTake(takes[0]);
  takes.push(take);
  list.add(take);
  take.addEventListener("change", transport);
  take.addEventListener("forgotten", resend, { once: true });
  render(take);
  glance = null;
  player.play(take, player.playing ? player.position : sheet.position);
  list.select(take);
  paint();
}

function render(take) {
  take.render();
}

function switchTo(take) {
  player.select(take);
  if (!player.playing) player.play(take);
  list.select(take);
  glance = null;
  sheet.mel = null;
  paint();
}

function removeTake(take) {
  take.stop();
  takes = takes.filter((other) => other !== take);
  list.remove(take);
  if (player.take === take) {
    player.pause();
    player.take = null;
    if (takes.length) player.select(takes.at(-1));
    list.select(player.take);
  }
  transport();
}

async function copyCommand(take) {
  const text = `${take.command} -o ${(score?.name ?? "score").replace(/\.midi?$/i, "").replace(/[^\w.-]+/g, "_")}-${take.letter}.wav`;
  try {
    await navigator.clipboard.writeText(text);
    notify("copied", "Copied.", text);
    setTimeout(() => dismiss("copied"), 4000);
  } catch {
    notify("copied", "Copy this:", text); // the clipboard is for secure pages only
  }
}

// ---- transport

function transport() {
  const { take } = player;
  const ready = take?.state === "ready";
  document.body.dataset.playing = String(player.playing);
  $("play").disabled = !take && !score;
  $("play").classList.toggle("on", player.playing);
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  $("playing").textContent = take ? `${take.letter} · ${take.label}${take.state === "ready" ? "" : ` · ${take.about}`}` : "";
  const save = $("download");
  save.setAttribute("aria-disabled", String(!ready));
  if (ready) save.href = api.resultURL(take.job, "wav");
  else save.removeAttribute("href");
  $("copy").disabled = !take?.command;
  $("no-takes").hidden = takes.length > 0;
  map.pins = takes.filter((one) => one.places.length).map((one) => ({ letter: one.letter, at: one.places[0], on: one === take }));
  map.path = map.drag || map.keyed ? map.path : (take?.places.length > 1 ? take.places : []);
  map.draw();
  tick();
}

function playOrPause() {
  if (player.playing) player.pause();
  else if (player.take) player.play();
  else if (score && map.map) record(map.text(map.point), map.words(map.point), [map.point]);
}

function seek(to) {
  player.seek(to);
  sheet.move(to);
  tick();
}

function tick() {
  const position = player.playing || player.take ? player.position : sheet.position;
  sheet.move(position);
  $("now").textContent = player.waiting ? "…" : clock(position);
  const range = $("seek");
  if (document.activeElement !== range || player.playing) range.value = position;
  range.setAttribute("aria-valuetext", `${clock(position)} of ${clock(sheet.length)}`);
  const places = player.take?.places ?? [];
  map.beat = null;
  if (player.playing && places.length) {
    const times = places.map((_, i) => (i / Math.max(places.length - 1, 1)) * (player.take.length || 1));
    map.beat = { at: places.length > 1 ? along(places, times, position) : places[0], level: still.matches ? 0 : player.level };
  }
  if (map.map) map.draw();
}

let last = 0;
function frame(now) {
  if (player.playing && now - last > (still.matches ? 250 : 30)) {
    last = now;
    tick();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

player.addEventListener("change", transport);
$("play").addEventListener("click", playOrPause);
$("loop").addEventListener("click", ({ currentTarget }) => {
  player.loop = !player.loop;
  currentTarget.setAttribute("aria-pressed", String(player.loop));
});
$("volume").addEventListener("input", ({ target }) => (player.volume = Number(target.value)));
$("seek").addEventListener("input", ({ target }) => seek(Number(target.value)));
$("copy").addEventListener("click", () => copyCommand(player.take));
$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) open(target.files[0], target.files[0].name);
  target.value = "";
});
$("examples").addEventListener("change", ({ target }) => target.value && openExample(target.value));
$("clear").addEventListener("click", () => show(null, null));
$("model").addEventListener("change", ({ target }) => choose("model", target.value));
$("vocoder").addEventListener("change", ({ target }) => choose("vocoder", target.value));
for (const radio of document.querySelectorAll("[name=shade]")) radio.addEventListener("change", paintShade);
$("keys").addEventListener("click", () => $("help").showModal());

addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").hidden = false;
});
addEventListener("dragleave", (event) => event.relatedTarget ?? ($("drop").hidden = true));
addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").hidden = true;
  const [dropped] = event.dataTransfer.files;
  if (dropped) open(dropped, dropped.name);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const control = event.target.closest?.("button, select, input, a, label");
  const number = Number(event.key);
  if (event.key === " " && !control) playOrPause();
  else if (control?.matches("select, input:not([type=range], [type=radio])")) return;
  else if (number >= 1 && takes[number - 1]) switchTo(takes[number - 1]);
  else if (event.key.toLowerCase() === "l") $("loop").click();
  else if (event.key.toLowerCase() === "m") $("map").focus();
  else if (event.key === "Home" && control?.type !== "range") seek(0);
  else if (event.key === "?") $("help").showModal();
  else return;
  event.preventDefault();
});
addEventListener("pagehide", () => takes.forEach((take) => take.complete || take.stop()));

// ---- light and dark, and sizes

function dress(name) {
  document.documentElement.dataset.theme = name;
  document.documentElement.style.setProperty("--ramp", stops("map").join(","));
  map.draw();
  sheet.draw();
  list.redraw();
}
const dark = matchMedia("(prefers-color-scheme: dark)");
const preferred = () => localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
dark.addEventListener("change", () => dress(preferred()));
$("theme").addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  dress(preferred());
});
dress(preferred());
new ResizeObserver(() => (map.draw(), sheet.draw(), paint(), list.redraw())).observe($("sheet"));

// ---- begin

async function start() {
  try {
    const [server, parts, scores] = await Promise.all([api.about(), api.components(), api.examples()]);
    ({ limits } = server);
    components = parts;
    const standard = (some) => (some.find((part) => part.default) ?? some.find((part) => part.usable) ?? some[0])?.name ?? "";
    chosen = { model: standard(components.models), vocoder: standard(components.vocoders) };
    showComponents();
    api.ready(chosen).then(caution, () => {}); // what is wrong with the default is told where it is used
    for (const one of scores) $("examples").add(new Option(`${one.name.replace(/\.midi?$/i, "")} (${clock(one.seconds)})`, one.id));
    await Promise.all([showMap(), scores.length ? example() : show(null, null)]);
    $("volume").dispatchEvent(new Event("input"));
  } catch (error) {
    veil("map-veil", { title: "The instrument is not there", text: error.message, bad: true, buttons: [["Try again", start]] });
    veil("sheet-veil", { text: "The score comes with it." });
  }
}

window.m2m = { player, map, sheet, takes: () => takes }; // for the curious, and for the tests
await start();
document.body.dataset.ready = "true";
