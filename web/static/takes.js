// @ts-check
// The recordings: adds, selects and removes them.

import * as kept from "./kept.js";
import { paint } from "./mel.js";
import { mixed } from "./mixer.js";
import { dismiss, notify } from "./notices.js";
import { page, stem } from "./page.js";
import { openFirstExample } from "./score.js";
import { resend } from "./server.js";
import { state } from "./state.js";
import { Take } from "./take.js";
import { TakeList } from "./take_list.js";
import { player, sheet } from "./widgets.js";

/** @import { Place } from "./geometry.js" */

const MOST_TAKES = 8;
const COPIED = 4000; // ms that the notice is shown

export const list = new TakeList(page.takes, {
  select: selectTake,
  again: (take) => take.render(),
  copy: copyCommand,
  remove: removeTake,
});

/**
 * Render the score at a timbre, and play it while it arrives.
 * @param {string | null} timbre as the command line takes it; null gives each track its own program's
 * @param {string} label
 * @param {Place[]} places on the map
 */
export function record(timbre, label, places) {
  const { score, chosen } = state;
  if (!score) {
    const text = "Drop a MIDI file or a recording on this page, or play the example.";
    notify("empty", "There is no score yet.", text, { action: "Play the example", act: openFirstExample });
    return;
  }
  const conditioner = state.conditionerOf(chosen.model);
  const about = { timbre, label, places, length: score.seconds, score: score.id, conditioner, ...chosen, ...mixed() };
  const take = new Take(about);
  while (state.takes.length >= MOST_TAKES) removeTake(state.takes[0]);
  add(take);
  const { model, vocoder } = state.loading;
  take.render(model || vocoder ? Promise.all([model, vocoder]) : undefined);
  state.hovered = null;
  state.recorded = false;
  player.play(take, player.playing ? player.position : sheet.position);
  list.select(take);
  paint();
}

/** @param {Take} take */
function add(take) {
  state.takes.push(take);
  list.add(take);
  take.on("change", () => {
    state.emit("takes", null);
    if (take.state === "ready") kept.keepTake(take);
  });
  take.on("forgotten", resend, { once: true });
}

/** Show the recordings of the score that the browser has kept from the last visit. */
export async function recallTakes() {
  const recalled = (await kept.recallTakes()).filter((take) => take.score === state.score?.id).slice(-MOST_TAKES);
  recalled.forEach(add);
  const last = recalled.at(-1);
  if (!last) return;
  player.select(last);
  list.select(last);
  paint();
  await Promise.all(recalled.map((take) => take.find()));
}

/** @param {Take} take to hear, from where the last one was */
export function selectTake(take) {
  player.select(take);
  if (!player.playing) player.play(take);
  list.select(take);
  state.hovered = null;
  state.recorded = false;
  sheet.mel = null;
  paint();
}

/** @param {Take} take */
function removeTake(take) {
  take.stop();
  kept.forgetTake(take);
  state.takes = state.takes.filter((other) => other !== take);
  list.remove(take);
  if (player.take === take) {
    player.pause();
    player.take = null;
    const last = state.takes.at(-1);
    if (last) player.select(last);
    list.select(player.take);
  }
  state.emit("takes", null);
}

/** @param {Take} take */
async function copyCommand(take) {
  const score = stem(state.score?.name ?? "score").replace(/[^\w.-]+/g, "_");
  const text = `${take.command} -o ${score}-${take.letter}.wav`;
  try {
    await navigator.clipboard.writeText(text);
    notify("copied", "Copied.", text);
    setTimeout(() => dismiss("copied"), COPIED);
  } catch {
    notify("copied", "Copy this:", text); // the clipboard is for secure pages only
  }
}

state.on("score", () => state.takes.filter((take) => take.score !== state.score?.id).forEach(removeTake));
page.copy.addEventListener("click", () => player.take && copyCommand(player.take));
addEventListener("pagehide", () => state.takes.forEach((take) => take.complete || take.stop()));
