// @ts-check
// The mel picture: of the timbre under the pointer, else of the selected recording. One request is made at a time; a later
// wish replaces an earlier one that waits.

import * as api from "./api.js";
import { mixed } from "./mixer.js";
import { page } from "./page.js";
import { resend } from "./server.js";
import { state } from "./state.js";
import { player, sheet } from "./widgets.js";

/** @import { MelRequest } from "../messages.js" */
/** @import { Take } from "./take.js" */

/**
 * A mel to fetch. take: the recording that keeps it, if any; start: the first second in view.
 * @typedef {{ key: string, take: Take | null, start: number, wanted: MelRequest }} MelJob
 */

/** Show the mel of what is in view. */
export function paint() {
  const { score, chosen } = state;
  const take = !state.hovered && player.take && player.take.score === score?.id ? player.take : null;
  const source = state.hovered ?? take;
  page.melTag.textContent = source && score ? `${take ? `${take.letter} · ` : ""}${source.label}` : "";
  if (!source || !score) return;
  const { start, stop } = sheet;
  const mixing = take ? { map: take.map, mix: take.mix } : mixed();
  const kept = take?.mels.get(start);
  if (kept) {
    sheet.paint(kept);
    return;
  }
  state.melWanted = {
    key: `${score.id} ${chosen.model} ${source.timbre} ${start} ${JSON.stringify(mixing)}`,
    take,
    start,
    wanted: { score: score.id, model: take?.model ?? chosen.model, timbre: source.timbre, start, stop, ...mixing },
  };
  if (!state.melRunning) fetchMels();
}

async function fetchMels() {
  while (state.melWanted && state.melWanted.key !== state.melRunning?.key) {
    const job = (state.melRunning = state.melWanted);
    state.melWanted = null;
    const began = performance.now();
    try {
      const mel = await api.mel(job.wanted);
      job.take?.mels.set(job.start, mel);
      if (job.wanted.score === state.score?.id && job.start === sheet.start) {
        sheet.paint(mel);
        page.sheet.dataset.mel = job.wanted.timbre ?? "as written";
        page.sheet.dataset.milliseconds = String(Math.round(performance.now() - began));
      }
    } catch (error) {
      if (api.isProblem(error, "no-score")) await resend();
    }
  }
  state.melRunning = null;
}

sheet.on("page", paint);
