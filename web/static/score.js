// @ts-check
// The score: opens a file or an example, and shows what the server has read.

import * as api from "./api.js";
import * as kept from "./kept.js";
import { veil } from "./notices.js";
import { clock, page, stem } from "./page.js";
import { state } from "./state.js";
import { player, sheet } from "./widgets.js";

/** @import { Example, ScoreInfo } from "../messages.js" */

/** @type {Record<string, string>} */
const REFUSALS = {
  "not-midi": "Not a MIDI file",
  "too-large": "Too large",
  "too-long": "Too long",
  "nothing-to-play": "Nothing to play",
};

/** @param {File} file */
export async function openFile(file) {
  const { name } = file;
  const most = state.limits?.upload_kb;
  if (most && file.size > most * 1024) {
    const size = `${Math.ceil(file.size / 1024).toLocaleString("en")} kB`;
    const text = `${name} has ${size}; ${most} kB are the most this server takes. Half an hour of dense piano fits.`;
    refuse("Too large", text, name);
    return;
  }
  veil(page.sheetVeil, { busy: true, text: `Reading ${name}…` });
  try {
    const data = await file.arrayBuffer();
    showScore(await api.upload(data, name), { data, name });
  } catch (error) {
    const title = error instanceof api.Problem ? REFUSALS[error.kind] : undefined;
    refuse(title ?? "That did not work", api.messageOf(error), name);
  }
}

/** @param {string} id */
export async function openExample(id) {
  veil(page.sheetVeil, { busy: true, text: "Reading the example…" });
  try {
    showScore(await api.getScore(id));
  } catch (error) {
    refuse("That did not work", api.messageOf(error));
  }
}

/** Open the first example. */
export async function openFirstExample() {
  const first = page.examples.options[1]?.value;
  if (first) await openExample(first);
}

/** @param {Example[]} examples */
export function listExamples(examples) {
  for (const { id, name, seconds } of examples) {
    page.examples.add(new Option(`${stem(name)} (${clock(seconds)})`, id));
  }
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} [name] of the file that is refused
 */
function refuse(title, text, name = "") {
  page.scoreTitle.textContent = stem(name) || "Score";
  page.scoreAbout.textContent = page.scoreAbout.title = "";
  const back = () => {
    page.sheetVeil.hidden = true;
    describe(state.score);
  };
  veil(page.sheetVeil, {
    title,
    text,
    bad: true,
    buttons: [
      ["Choose another", () => page.file.click()],
      state.score ? ["Back to the score", back] : ["Play the example", openFirstExample],
    ],
  });
}

/**
 * Show a score, or that there is none.
 * @param {ScoreInfo | null} score
 * @param {{ data: ArrayBuffer, name: string } | null} [file] the upload that it was read from
 */
export function showScore(score, file = null) {
  state.score = score;
  state.file = file;
  player.pause();
  player.seek(0);
  sheet.show(score);
  describe(score);
  page.clear.hidden = !score;
  page.seek.disabled = !score;
  page.seek.max = String(sheet.length || 1);
  page.length.textContent = `/ ${clock(sheet.length)}`;
  if (score) page.sheetVeil.hidden = true;
  else {
    veil(page.sheetVeil, {
      title: "What shall it play?",
      text: "Drop a MIDI file anywhere on this page. It stays on the machine that serves it.",
      buttons: [["Open a MIDI file", () => page.file.click()], ["Play the example", openFirstExample]],
    });
  }
  const isExample = score && [...page.examples.options].some((option) => option.value === score.id);
  page.examples.value = isExample ? score.id : "";
  kept.keepScore(score && { id: score.id, file });
  state.emit("score", null);
}

/** Open the score of the last visit, as the browser has kept it; else the first example, else none. */
export async function recallScore() {
  const last = await kept.recallScore();
  if (last?.file) await api.upload(last.file.data, last.file.name).catch(() => {});
  const score = last && (await api.getScore(last.id).catch(() => null));
  if (score) showScore(score, last.file);
  else if (last !== null && page.examples.options.length > 1) await openFirstExample();
  else showScore(null);
}

/** @param {ScoreInfo | null} score */
function describe(score) {
  page.score.dataset.score = score?.id ?? "";
  if (!score) {
    page.scoreTitle.textContent = "Score";
    page.scoreAbout.textContent = page.scoreAbout.title = "";
    page.roll.setAttribute("aria-label", "Piano roll");
    return;
  }
  const length = clock(score.seconds);
  const about = [`${length}, ${score.notes.toLocaleString("en")} notes`, ...score.omissions].join(" · ");
  page.scoreTitle.textContent = stem(score.name);
  page.scoreAbout.textContent = page.scoreAbout.title = about;
  page.roll.setAttribute("aria-label", `Piano roll of ${score.name}, ${score.notes} notes, ${length} long`);
}

page.file.addEventListener("change", () => {
  if (page.file.files?.[0]) openFile(page.file.files[0]);
  page.file.value = "";
});
page.examples.addEventListener("change", () => {
  if (page.examples.value) openExample(page.examples.value);
});
page.clear.addEventListener("click", () => showScore(null));
