// @ts-check
// A take is one recording: a timbre, what renders it, and its samples as they arrive.

import * as api from "./api.js";
import { Emitter } from "./emitter.js";
import { clock } from "./page.js";

/** @import { JobRequest } from "../messages.js" */
/** @import { Mel } from "./api.js" */
/** @import { Place } from "./geometry.js" */
/** @typedef {"loading" | "asking" | "queued" | "rendering" | "ready" | "failed"} TakeState */
/**
 * change: its state or its samples. forgotten: the server does not know the score any more.
 * @typedef {{ change: null, forgotten: null }} TakeEvents
 */
/**
 * length: of the score, in seconds; places: on the map; the rest are names.
 * @typedef {object} TakeOptions
 * @property {string | null} timbre
 * @property {Record<string, string>} map timbres of some tracks, as the command line takes them
 * @property {Record<string, string>} mix levels of some tracks, likewise
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
const [PACE, SHORT] = [2, 5]; // seconds of rendering that tell its pace; seconds that are not worth an estimate

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
  job = ""; // its id; "" where the server has none, or no longer
  #began = 0; // ms, when its first samples arrived
  command = "";
  #stopped = new AbortController();

  /** @param {TakeOptions} options */
  constructor({ timbre, map, mix, label, places, length, score, model, conditioner, vocoder }) {
    super();
    this.timbre = timbre;
    this.map = map;
    this.mix = mix;
    this.label = label;
    this.places = places;
    this.length = length;
    this.score = score;
    this.model = model;
    this.conditioner = conditioner;
    this.vocoder = vocoder;
    this.letter = LETTERS[Take.#count++ % LETTERS.length];
  }

  /** All of a finished recording, as a browser can store it. */
  get record() {
    const { timbre, map, mix, label, places, length, score, model, conditioner, vocoder } = this;
    const options = { timbre, map, mix, label, places, length, score, model, conditioner, vocoder };
    const { samples, channels, rate, filled, peak, job, command } = this;
    return { options, made: { samples, channels, rate, filled, peak, job, command } };
  }

  /** @param {Take["record"]} record @returns {Take} */
  static of({ options, made }) {
    return Object.assign(new Take(options), made, { state: "ready" });
  }

  /** Its length with the last note's release, in seconds; 0 until the first sample arrives. */
  get seconds() {
    return this.rate ? this.samples.length / this.channels / this.rate : 0;
  }

  /** Whether the mixer has changed some of its tracks. */
  get mixed() {
    return Object.keys({ ...this.map, ...this.mix }).length > 0;
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
    const made = `${this.vocoder} · ${this.conditioner}${this.mixed ? " · mixed" : ""}`;
    if (this.state === "loading") return `${made} · loading…`;
    if (this.state === "asking") return `${made} · asking for it…`;
    if (this.state === "queued" || this.state === "failed") return this.message;
    if (this.state !== "rendering") return made;
    const left = this.left > SHORT ? ` · ${clock(this.left)} left` : "";
    return `${made} · ${Math.round((100 * this.filled) / (this.samples.length || 1))} %${left}`;
  }

  /** Seconds until it is rendered, by its pace so far; 0 while that is not known. */
  get left() {
    const seconds = (performance.now() - this.#began) / 1000;
    return this.filled && seconds > PACE ? (seconds * (this.samples.length - this.filled)) / this.filled : 0;
  }

  /**
   * Render it, from its beginning. What fails becomes its state.
   * @param {Promise<unknown>} [ready] what must be loaded before
   */
  async render(ready) {
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    this.samples = new Float32Array(0);
    this.filled = this.peak = this.rate = 0;
    const { score, model, vocoder, timbre, map, mix } = this;
    try {
      if (ready) {
        this.#become("loading");
        await ready;
        if (signal.aborted) return;
      }
      this.#become("asking");
      const job = await this.#submit({ score, model, vocoder, timbre, map, mix });
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

  /** Ask whether the server still has it. */
  async find() {
    await api.job(this.job).catch((error) => {
      if (api.isProblem(error, "no-job")) this.job = "";
    });
    this.emit("change", null);
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
    this.#began = performance.now();
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
