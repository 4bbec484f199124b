// @ts-check
// A take is one recording: a timbre, what renders it, and its samples as they arrive.

import * as api from "./api.js";
import { Emitter } from "./emitter.js";

/** @import { JobRequest } from "../messages.js" */
/** @import { Mel } from "./api.js" */
/** @import { Place } from "./geometry.js" */
/** @typedef {"asking" | "queued" | "rendering" | "ready" | "failed"} TakeState */
/**
 * change: its state or its samples. forgotten: the server does not know the score any more.
 * @typedef {{ change: null, forgotten: null }} TakeEvents
 */
/**
 * length: of the score, in seconds; places: on the map; the rest are names.
 * @typedef {object} TakeOptions
 * @property {string | null} timbre
 * @property {string} label
 * @property {Place[]} places
 * @property {number} length
 * @property {string} score
 * @property {string} model
 * @property {string} conditioner
 * @property {string} vocoder
 */

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const RETRY = 2; // seconds until the next try, where the server does not say

/** @extends {Emitter<TakeEvents>} */
export class Take extends Emitter {
  static #count = 0;

  samples = new Float32Array(0); // of its channels in turn
  channels = 1;
  filled = 0; // samples that have arrived
  peak = 0; // of those
  rate = 0; // Hz; 0 until the first sample arrives
  /** @type {Map<number, Mel>} by the first second of the view */
  mels = new Map();
  /** @type {TakeState} */
  state = "asking";
  message = "";
  job = ""; // its id
  command = "";
  #stopped = new AbortController();

  /** @param {TakeOptions} options */
  constructor({ timbre, label, places, length, score, model, conditioner, vocoder }) {
    super();
    this.timbre = timbre;
    this.label = label;
    this.places = places;
    this.length = length;
    this.score = score;
    this.model = model;
    this.conditioner = conditioner;
    this.vocoder = vocoder;
    this.letter = LETTERS[Take.#count++ % LETTERS.length];
  }

  /** Its length with the last note's release, in seconds; 0 until the first sample arrives. */
  get seconds() {
    return this.rate ? this.samples.length / this.channels / this.rate : 0;
  }

  get complete() {
    return this.rate > 0 && this.filled === this.samples.length;
  }

  /** The gain that keeps the loudest sample so far within full scale. */
  get gain() {
    return 1 / Math.max(1, this.peak);
  }

  /** What the list says of it. */
  get about() {
    const made = `${this.vocoder} · ${this.conditioner}`;
    if (this.state === "asking") return "asking for it…";
    if (this.state === "queued" || this.state === "failed") return this.message;
    if (this.state !== "rendering") return made;
    return `${made} · ${Math.round((100 * this.filled) / (this.samples.length || 1))} %`;
  }

  /** Render it, from its beginning. What fails becomes its state. */
  async render() {
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    this.samples = new Float32Array(0);
    this.filled = this.peak = this.rate = 0;
    const { score, model, vocoder, timbre } = this;
    try {
      const job = await this.#submit({ score, model, vocoder, timbre });
      if (!job) return;
      this.job = job.id;
      this.command = job.command;
      this.#become("rendering");
      await api.stream(job.id, (...head) => this.#begin(...head), (block) => this.#add(block), signal);
      if (!this.complete) {
        const { message } = await api.job(job.id);
        throw new Error(message || "The sound broke off.");
      }
      this.#become("ready");
    } catch (error) {
      if (!api.isAbort(error)) this.#become("failed", api.messageOf(error));
    }
  }

  stop() {
    this.#stopped.abort();
    if (this.job) api.cancel(this.job);
  }

  /**
   * Submit the job; while the queue is full, ask again.
   * @param {JobRequest} wanted
   */
  async #submit(wanted) {
    for (;;) {
      try {
        return await api.begin(wanted);
      } catch (error) {
        if (!(error instanceof api.Problem)) throw error;
        if (error.kind === "no-score") this.emit("forgotten", null);
        if (error.status !== 503 && error.status !== 429) throw error;
        const reason = error.status === 503 ? "The queue is full" : "Others of yours go first";
        for (let left = error.retry ?? RETRY; left > 0; left--) {
          this.#become("queued", `${reason}. Asking again in ${left} s.`);
          await new Promise((resolve) => setTimeout(resolve, 1000));
          if (this.#stopped.signal.aborted) return null;
        }
      }
    }
  }

  /** @param {TakeState} state @param {string} [message] */
  #become(state, message = "") {
    this.state = state;
    this.message = message;
    this.emit("change", null);
  }

  /** @param {number} samples of a channel @param {number} rate @param {number} channels */
  #begin(samples, rate, channels) {
    this.samples = new Float32Array(samples * channels);
    this.channels = channels;
    this.rate = rate;
  }

  /** @param {Float32Array} block */
  #add(block) {
    this.samples.set(block.subarray(0, this.samples.length - this.filled), this.filled);
    this.filled = Math.min(this.filled + block.length, this.samples.length);
    for (const sample of block) this.peak = Math.max(this.peak, Math.abs(sample));
    this.#become("rendering");
  }
}
