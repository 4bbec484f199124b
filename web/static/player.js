// @ts-check
// Plays a recording while it still arrives: its samples are scheduled in short slices, a little ahead of the audio
// clock.
//
// Where the loudest sample that has arrived exceeds full scale, the gain is lowered so that it does not; a sample
// arrives before it sounds. Once all samples are there, the gain is that of the downloaded file.

import { Emitter } from "./emitter.js";

/** @import { Take } from "./take.js" */
/**
 * A slice that sounds or will. at: second of the audio clock; from: second of the recording.
 * @typedef {{ at: number, from: number, length: number }} Slice
 */

const SLICE = 0.2; // seconds
const AHEAD = 1.2; // seconds; browsers let a page in the background look only once a second
const LOOK = 100; // ms between two looks at what has arrived
const RATE = 16000; // Hz, before the recording's own is known

/** @extends {Emitter<{ change: null }>} */
export class Player extends Emitter {
  /** @type {Take | null} */
  take = null;
  loop = false;
  playing = false;
  #volume = 0.8;
  #gain = 1; // that the last slice ended with
  #position = 0; // seconds, while nothing sounds
  /** @type {Slice[]} */
  #slices = [];
  /** Made by the first recording that plays, since a browser lets no page sound before a click.
   * @type {{ context: AudioContext, meter: AnalyserNode, master: GainNode } | null} */
  #audio = null;
  /** Where the slices of what plays now go.
   * @type {GainNode | null} */
  #bus = null;

  #start() {
    if (!this.#audio) {
      const context = new AudioContext({ sampleRate: this.take?.rate || RATE });
      const meter = new AnalyserNode(context, { fftSize: 1024 });
      const master = new GainNode(context, { gain: this.#volume ** 2 });
      master.connect(meter).connect(context.destination);
      this.#audio = { context, meter, master };
      setInterval(() => this.#schedule(), LOOK);
    }
    return this.#audio;
  }

  get #now() {
    return this.#audio?.context.currentTime ?? 0;
  }

  /** RMS value of what sounds now. */
  get level() {
    if (!this.#audio || !this.playing) return 0;
    const { meter } = this.#audio;
    const wave = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(wave);
    return Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length);
  }

  /** Second of the recording that sounds now, or from which it will play. */
  get position() {
    if (!this.playing || !this.#slices.length) return this.#position;
    while (this.#slices.length > 1 && this.#slices[1].at <= this.#now) this.#slices.shift();
    const { at, from, length } = this.#slices[0];
    return from + Math.min(Math.max(this.#now - at, 0), length);
  }

  /** It plays, but the next samples have not arrived. */
  get waiting() {
    return this.playing && (!this.#slices.length || this.#end <= this.#now);
  }

  /** @param {number} value 0 to 1 */
  set volume(value) {
    this.#volume = value;
    this.#audio?.master.gain.setTargetAtTime(value ** 2, this.#now, 0.02);
  }

  /**
   * Play a recording, from where the last one was unless `from` says otherwise.
   * @param {Take | null} [take]
   * @param {number} [from] seconds
   */
  play(take = this.take, from = this.position) {
    if (!take) return;
    this.#stop();
    this.take = take;
    if (take.seconds && from >= take.seconds - 0.05) from = 0;
    this.#position = from;
    this.playing = true;
    const { context, master } = this.#start();
    context.resume();
    this.#bus = new GainNode(context);
    this.#bus.connect(master);
    this.#gain = take.gain;
    this.#schedule();
    this.emit("change", null);
  }

  pause() {
    this.#stop();
    this.emit("change", null);
  }

  /** @param {number} to seconds */
  seek(to) {
    const { playing } = this;
    this.#stop();
    this.#position = Math.max(0, to);
    if (playing) this.play(this.take, this.#position);
    else this.emit("change", null);
  }

  /** @param {Take} take that plays from now on, or with the next press of the button */
  select(take) {
    if (this.playing) this.play(take);
    else {
      this.take = take;
      this.emit("change", null);
    }
  }

  /** When the last slice ends, by the audio clock. */
  get #end() {
    const last = this.#slices.at(-1);
    return last ? last.at + last.length : 0;
  }

  #stop() {
    if (!this.playing) return;
    this.#position = this.position;
    this.playing = false;
    this.#slices = [];
    const bus = this.#bus;
    bus?.gain.setTargetAtTime(0, this.#now, 0.004); // no click
    setTimeout(() => bus?.disconnect(), 60);
  }

  #schedule() {
    const { take } = this;
    while (take && this.playing && this.#end < this.#now + AHEAD) {
      const last = this.#slices.at(-1);
      let from = last ? last.from + last.length : this.#position;
      if (take.complete && from >= take.seconds - 1e-6) {
        if (!this.loop) {
          if (this.#end <= this.#now) this.#finish();
          return;
        }
        from = 0;
      }
      const begin = Math.round(from * take.rate);
      const end = Math.min(begin + Math.round(SLICE * take.rate), take.filled / take.channels);
      if (!take.rate || end <= begin) {
        if (take.state === "failed" && this.waiting) this.pause();
        return; // it has not arrived yet, or never will
      }
      this.#play(take, begin, end);
    }
  }

  /**
   * Let samples sound after the last slice.
   * @param {Take} take
   * @param {number} begin sample of a channel
   * @param {number} end
   */
  #play(take, begin, end) {
    const { context } = this.#start();
    const { channels } = take;
    const length = end - begin;
    const step = (take.gain - this.#gain) / length;
    const buffer = context.createBuffer(channels, length, take.rate);
    for (let channel = 0; channel < channels; channel++) {
      const samples = buffer.getChannelData(channel);
      for (let i = 0; i < length; i++)
        samples[i] = take.samples[(begin + i) * channels + channel] * (this.#gain + step * (i + 1));
    }
    this.#gain = take.gain;
    const source = new AudioBufferSourceNode(context, { buffer });
    if (this.#bus) source.connect(this.#bus);
    const at = Math.max(this.#end, this.#now + 0.03);
    source.start(at);
    this.#slices.push({ at, from: begin / take.rate, length: length / take.rate });
  }

  #finish() {
    this.#stop();
    this.#position = 0;
    this.emit("change", null);
  }
}
