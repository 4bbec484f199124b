// @ts-check
// Play, pause and seek; and what moves while it plays.

import * as api from "./api.js";
import { along } from "./geometry.js";
import { clock, page } from "./page.js";
import { state } from "./state.js";
import { record } from "./takes.js";
import { map, player, sheet } from "./widgets.js";

const FRAME = 30; // ms between two pictures
const STILL_FRAME = 250; // with reduced motion
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Show the recording that is selected, and whether it plays. */
function showTransport() {
  const { take } = player;
  const ready = take?.state === "ready" && take.job !== "";
  document.body.dataset.playing = String(player.playing);
  page.play.disabled = !take && !state.score;
  page.play.classList.toggle("on", player.playing);
  page.play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
  page.playing.textContent = take ? `${take.letter} · ${take.label}${take.state === "ready" ? "" : ` · ${take.about}`}` : "";
  page.download.setAttribute("aria-disabled", String(!ready));
  if (ready) page.download.href = api.resultURL(take.job, "wav");
  else page.download.removeAttribute("href");
  page.copy.disabled = !take?.command;
  page.noTakes.hidden = state.takes.length > 0;
  map.pins = state.takes
    .filter((one) => one.places.length)
    .map((one) => ({ letter: one.letter, at: one.places[0], on: one === take }));
  if (!map.drawing) map.path = take && take.places.length > 1 ? take.places : [];
  map.draw();
  tick();
}

export function playOrPause() {
  if (player.playing) player.pause();
  else if (player.take) player.play();
  else if (state.score && map.map && !state.loading.model) record(map.text(map.point), map.words(map.point), [map.point]);
}

/** @param {number} to second of the score */
export function seek(to) {
  player.seek(to);
  sheet.move(to);
  tick();
}

/** Show the position. */
function tick() {
  const position = player.playing || player.take ? player.position : sheet.position;
  sheet.move(position);
  page.now.textContent = player.waiting ? "…" : clock(position);
  if (document.activeElement !== page.seek || player.playing) page.seek.value = String(position);
  page.seek.setAttribute("aria-valuetext", `${clock(position)} of ${clock(sheet.length)}`);
  const { take } = player;
  map.beat = null;
  if (player.playing && take?.places.length) {
    const { places, length } = take;
    const times = places.map((_, i) => (i / Math.max(places.length - 1, 1)) * (length || 1));
    map.beat = {
      at: places.length > 1 ? along(places, times, position) : places[0],
      level: still.matches ? 0 : player.level,
    };
  }
  if (map.map) map.draw();
}

/** @param {number} last time of the last picture, in ms */
function animate(last) {
  requestAnimationFrame((now) => {
    const due = player.playing && now - last > (still.matches ? STILL_FRAME : FRAME);
    if (due) tick();
    animate(due ? now : last);
  });
}
animate(0);

player.on("change", showTransport);
state.on("takes", showTransport);
state.on("score", showTransport);
sheet.on("seek", seek);
page.play.addEventListener("click", playOrPause);
page.loop.addEventListener("click", () => {
  player.loop = !player.loop;
  page.loop.setAttribute("aria-pressed", String(player.loop));
});
page.volume.addEventListener("input", () => (player.volume = Number(page.volume.value)));
page.seek.addEventListener("input", () => seek(Number(page.seek.value)));
