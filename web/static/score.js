// @ts-check
// The score: opens a file or an example, and shows what the server has read.

import * as api from "./api.js";
import * as kept from "./kept.js";
import { veil } from "./notices.js";
import { clock, page, stem } from "./page.js";
import { state } from "./state.js";
import { player, sheet } from "./widgets.js";

/** @import { Example, ScoreInfo } from "../messages.js" */
/** @import { Upload } from "./api.js" */

const AUDIO = /\.(wav|flac|ogg|oga|opus|mp3|aiff?|au|caf|w64|rf64)$/i;

/** @type {Record<string, string>} */
const REFUSALS = {
  "not-midi": "Not a MIDI file",
  "not-audio": "Not a recording",
  "too-large": "Too large",
  "too-long": "Too long",
  "nothing-to-play": "Nothing to play",
};

/** Stops what is being opened. */
let opening = new AbortController();

/** @returns {AbortSignal} of what is opened next, in place of what is being opened */
function openNext() {
  opening.abort();
  opening = new AbortController();
  return opening.signal;
}

/** @param {File} file a score, or audio whose notes become one */
export async function openFile(file) {
  const { name } = file;
  const signal = openNext();
  const audio = AUDIO.test(name) || (file.type.startsWith("audio/") && !file.type.includes("mid"));
  const most = audio ? state.limits?.audio_kb : state.limits?.upload_kb;
  if (most && file.size > most * 1024) {
    const size = `${Math.ceil(file.size / 1024).toLocaleString("en")} kB`;
    const fits = audio ? "MP3 and OGG are smaller." : "Half an hour of dense piano fits.";
    refuse("Too large", `${name} has ${size}; ${most} kB are the most this server takes. ${fits}`, name);
    return;
  }
  const cancel = () => {
    opening.abort();
    back();
  };
  if (audio) veil(page.sheetVeil, { busy: true, text: `Hearing the notes of ${name}…`, buttons: [["Cancel", cancel]] });
  else veil(page.sheetVeil, { busy: true, text: `Reading ${name}…` });
  try {
    const upload = { data: await file.arrayBuffer(), name, audio };
    const score = await api.upload(upload, signal);
    if (!signal.aborted) showScore(score, upload);
  } catch (error) {
    if (signal.aborted) return;
    const title = error instanceof api.Problem ? REFUSALS[error.kind] : undefined;
    refuse(title ?? "That did not work", api.messageOf(error), name);
  }
}

/** @param {string} id */
export async function openExample(id) {
  openNext();
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

/** Show the score that was open before, or that there is none. */
function back() {
  if (!state.score) {
    showScore(null);
    return;
  }
  page.sheetVeil.hidden = true;
  describe(state.score);
}

/**
 * Show a score, or that there is none.
 * @param {ScoreInfo | null} score
 * @param {Upload | null} [file] the upload that it was read from
 */
export function showScore(score, file = null) {
  state.score = score;
  state.file = file;
  state.recorded = true;
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
      text: "Drop a MIDI file or a recording anywhere on this page. It stays on the machine that serves it.",
      buttons: [["Open a file", () => page.file.click()], ["Play the example", openFirstExample]],
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
  let score = last && (await api.getScore(last.id).catch(() => null));
  if (!score && last?.file) score = await api.upload(last.file).catch(() => null);
  if (score && last) showScore(score, last.file);
  else if (last !== null && page.examples.options.length > 1) await openFirstExample();
  else showScore(null);
}

/** @param {ScoreInfo | null} score */
function describe(score) {
  page.score.dataset.score = score?.id ?? "";
  page.recorded.hidden = !score?.recording;
  if (!score) {
    page.scoreTitle.textContent = "Score";
    page.scoreAbout.textContent = page.scoreAbout.title = "";
    page.roll.setAttribute("aria-label", "Piano roll");
    return;
  }
  const length = clock(score.seconds);
  const notes = `${length}, ${score.notes.toLocaleString("en")} notes`;
  const about = [notes, ...heard(score.recording), ...score.omissions].join(" · ");
  page.scoreTitle.textContent = stem(score.name);
  page.scoreAbout.textContent = page.scoreAbout.title = about;
  page.roll.setAttribute("aria-label", `Piano roll of ${score.name}, ${score.notes} notes, ${length} long`);
}

/** @param {ScoreInfo["recording"]} recording @returns {string[]} what was heard in it */
function heard(recording) {
  if (!recording) return [];
  const unsure = recording.unsure ? [`${recording.unsure.toLocaleString("en")} unsure`] : [];
  return [...unsure, ...(recording.instrument ? [`heard: ${recording.instrument}`] : [])];
}

page.file.addEventListener("change", () => {
  if (page.file.files?.[0]) openFile(page.file.files[0]);
  page.file.value = "";
});
page.examples.addEventListener("change", () => {
  if (page.examples.value) openExample(page.examples.value);
});
page.clear.addEventListener("click", () => showScore(null));
