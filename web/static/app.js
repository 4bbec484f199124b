// @ts-check
// The page's entry: asks the server what it has, and shows it.

import * as api from "./api.js";
import { caution, choose, defaultOf, showComponents } from "./components.js";
import "./keys.js";
import { veil } from "./notices.js";
import { page } from "./page.js";
import { listExamples, recallScore } from "./score.js";
import { resend, watchServer } from "./server.js";
import { state } from "./state.js";
import "./theme.js";
import { recallTakes } from "./takes.js";
import { showMap } from "./timbre.js";
import { map, player, sheet } from "./widgets.js";

async function start() {
  try {
    const [{ limits }, components, examples] = await Promise.all([api.about(), api.components(), api.examples()]);
    state.limits = limits;
    state.components = components;
    state.chosen = { model: defaultOf(components.models), vocoder: defaultOf(components.vocoders) };
    showComponents(components);
    api.ready(state.chosen).then(caution, () => {}); // what is wrong with a default is shown when it is used
    listExamples(examples);
    await Promise.all([showMap(), recallScore()]);
    await recallTakes();
    page.volume.dispatchEvent(new Event("input"));
  } catch (error) {
    const buttons = /** @type {[string, () => void][]} */ ([["Try again", start]]);
    veil(page.mapVeil, { title: "The instrument is not there", text: api.messageOf(error), bad: true, buttons });
    veil(page.sheetVeil, { text: "The score comes with it." });
  }
}

watchServer(async () => {
  if (!state.components) return start();
  await resend();
  if (!map.map) await showMap();
});
page.model.addEventListener("change", () => choose("model", page.model.value));
page.vocoder.addEventListener("change", () => choose("vocoder", page.vocoder.value));

// For the browser's console, and for tests.
Object.assign(window, { m2m: { player, map, sheet, takes: () => state.takes } });
await start();
document.body.dataset.ready = "true";
