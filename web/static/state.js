// @ts-check
// What the page knows, in one object. An event tells the modules that show a part of it that it has changed.

import { Emitter } from "./emitter.js";

/** @import { Components, ScoreInfo, ServerLimits } from "../messages.js" */
/** @import { Upload } from "./api.js" */
/** @import { MelJob } from "./mel.js" */
/** @import { Take } from "./take.js" */

/**
 * score: another score is open, or none. takes: a recording was added, removed, or has changed. model: another map is shown.
 * @typedef {{ score: null, takes: null, model: null }} StateEvents
 */

/** @extends {Emitter<StateEvents>} */
class State extends Emitter {
  connected = true; // the server answered the last request
  /** @type {ServerLimits | null} */
  limits = null;
  /** @type {Components | null} */
  components = null;
  /** What is shown as chosen, and what the next recording is made with. */
  chosen = { model: "", vocoder: "" };
  /** What of it the server is loading still: recordings wait for it.
   * @type {{ model: Promise<unknown> | null, vocoder: Promise<unknown> | null }} */
  loading = { model: null, vocoder: null };
  /** @type {ScoreInfo | null} */
  score = null;
  /** The uploaded file of the score, to send it again to a server that was restarted.
   * @type {Upload | null} */
  file = null;
  /** @type {Take[]} */
  takes = [];
  recorded = false; // the mel of the score's own audio is shown, if it was transcribed from any
  /** The timbre under the pointer, whose mel is shown; null shows the mel of the selected recording.
   * @type {{ timbre: string, label: string } | null} */
  hovered = null;
  /** The mel that is being fetched.
   * @type {MelJob | null} */
  melRunning = null;
  /** The mel to fetch next; a later one replaces it.
   * @type {MelJob | null} */
  melWanted = null;

  /** @param {string} model @returns {string} the name of the model's conditioner, else the name itself */
  conditionerOf(model) {
    return this.components?.models.find((other) => other.name === model)?.conditioner ?? model;
  }
}

export const state = new State();
