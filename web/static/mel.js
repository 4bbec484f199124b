// @ts-check
// The mel picture: of the timbre under the pointer, else of the audio that the score was transcribed
// from, or of the selected recording. One request is made at a time; a later
// wish replaces an earlier one that waits.

import * as api from "./api.js";
import { mixed } from "./mixer.js";
import { page } from "./page.js";
import { resend } from "./server.js";
import { state } from "./state.js";
import { player, sheet } from "./widgets.js";

/** @import { ScoreInfo } from "../messages.js" */
/** @import { Mel } from "./api.js" */
/** @import { Take } from "./take.js" */

/**
 * A mel to fetch. take: the recording that keeps it, if any; start: the first second in view; of: whose it is.
 * @typedef {{ key: string, take: Take | null, score: string, start: number, of: string, ask: () => Promise<Mel> }} MelJob
 */

/** Show the mel of what is in view. */
export function paint() {
  const { score, chosen } = state;
  const take = !state.hovered && player.take && player.take.score === score?.id ? player.take : null;
  const recorded = !state.hovered && score?.recording && (state.recorded || !take);
  page.recorded.setAttribute("aria-pressed", String(!!recorded));
  if (recorded) {
    paintRecorded(score);
    return;
  }
  const source = state.hovered ?? take;
  page.melTag.textContent = source && score ? `${take ? `${take.letter} · ` : ""}${source.label}` : "";
  if (!source || !score) return;
  const { start, stop } = sheet;
  const { timbre } = source;
  const mixing = take ? { map: take.map, mix: take.mix } : mixed();
  const kept = take?.mels.get(start);
  if (kept) {
    sheet.paint(kept);
    return;
  }
  const wanted = { score: score.id, model: take?.model ?? chosen.model, timbre, start, stop, ...mixing };
  fetchNext({
    key: `${score.id} ${chosen.model} ${timbre} ${start} ${JSON.stringify(mixing)}`,
    take,
    score: score.id,
    start,
    of: timbre ?? "as written",
    ask: () => api.mel(wanted),
  });
}

/** @param {ScoreInfo} score that was transcribed from a recording, whose mel is shown */
function paintRecorded({ id, recording }) {
  const { start, stop } = sheet;
  page.melTag.textContent = recording?.name ?? "";
  const ask = () => api.recordedMel(id, start, stop);
  fetchNext({ key: `${id} ${start}`, take: null, score: id, start, of: "recording", ask });
}

/** @param {MelJob} job */
function fetchNext(job) {
  state.melWanted = job;
  if (!state.melRunning) fetchMels();
}

async function fetchMels() {
  while (state.melWanted && state.melWanted.key !== state.melRunning?.key) {
    const job = (state.melRunning = state.melWanted);
    state.melWanted = null;
    const began = performance.now();
    try {
      const mel = await job.ask();
      job.take?.mels.set(job.start, mel);
      if (job.score === state.score?.id && job.start === sheet.start) {
        sheet.paint(mel);
        page.sheet.dataset.mel = job.of;
        page.sheet.dataset.milliseconds = String(Math.round(performance.now() - began));
      }
    } catch (error) {
      if (api.isProblem(error, "no-score")) await resend();
    }
  }
  state.melRunning = null;
}

sheet.on("page", paint);
page.recorded.addEventListener("click", () => {
  const recorded = page.recorded.getAttribute("aria-pressed") === "true";
  state.hovered = null;
  state.recorded = !recorded;
  paint();
});
