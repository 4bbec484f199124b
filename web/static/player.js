// Plays a recording while it still arrives: its samples are scheduled in short slices on the audio clock, a little ahead.
//
// Peaks beyond full scale are brought down by as much as the loudest sample so far asks for; that is known before the sample
// sounds, since it must have arrived. Once all is there, the gain is the one that the downloaded file has.

const SLICE = 0.2; // seconds
const AHEAD = 1.2; // seconds; browsers let a page in the background look only once a second

export class Player extends EventTarget {
  take = null;
  loop = false;
  playing = false;
  #volume = 0.8;
  #position = 0; // seconds, while nothing sounds
  #slices = []; // { at, from, length } on the audio clock, those that sound and that will
  #bus = null;

  get context() {
    if (!this.audio) {
      this.audio = new AudioContext({ sampleRate: this.take?.rate || 16000 });
      this.meter = new AnalyserNode(this.audio, { fftSize: 1024 });
      this.master = new GainNode(this.audio, { gain: this.#volume ** 2 });
      this.master.connect(this.meter).connect(this.audio.destination);
      setInterval(() => this.#schedule(), 100);
    }
    return this.audio;
  }

  // The loudness of what sounds now, 0 to about 1.
  get level() {
    if (!this.meter || !this.playing) return 0;
    const wave = new Float32Array(this.meter.fftSize);
    this.meter.getFloatTimeDomainData(wave);
    return Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length);
  }

  get position() {
    if (!this.playing || !this.#slices.length) return this.#position;
    const now = this.audio.currentTime;
    while (this.#slices.length > 1 && this.#slices[1].at <= now) this.#slices.shift();
    const { at, from, length } = this.#slices[0];
    return from + Math.min(Math.max(now - at, 0), length);
  }

  get waiting() {
    return this.playing && (!this.#slices.length || this.#end <= this.audio.currentTime);
  }

  set volume(value) {
    this.#volume = value;
    this.master?.gain.setTargetAtTime(value ** 2, this.audio.currentTime, 0.02);
  }

  // Play a recording, from where the last one was unless `from` says otherwise.
  play(take = this.take, from = this.position) {
    if (!take) return;
    this.#stop();
    this.take = take;
    if (take.seconds && from >= take.seconds - 0.05) from = 0;
    this.#position = from;
    this.playing = true;
    this.context.resume();
    this.#bus = new GainNode(this.audio);
    this.#bus.connect(this.master);
    this.gain = take.gain;
    this.#schedule();
    this.#tell();
  }

  pause() {
    this.#stop();
    this.#tell();
  }

  seek(to) {
    const playing = this.playing;
    this.#stop();
    this.#position = Math.max(0, to);
    if (playing) this.play(this.take, this.#position);
    else this.#tell();
  }

  select(take) {
    if (this.playing) this.play(take);
    else {
      this.take = take;
      this.#tell();
    }
  }

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
    bus.gain.setTargetAtTime(0, this.audio.currentTime, 0.004); // no click
    setTimeout(() => bus.disconnect(), 60);
  }

  #schedule() {
    while (this.playing && this.#end < this.audio.currentTime + AHEAD) {
      const { take } = this;
      const last = this.#slices.at(-1);
      let from = last ? last.from + last.length : this.#position;
      if (take.complete && from >= take.seconds - 1e-6) {
        if (!this.loop) {
          if (this.#end <= this.audio.currentTime) this.#finish();
          return;
        }
        from = 0;
      }
      const begin = Math.round(from * take.rate);
      const end = Math.min(begin + Math.round(SLICE * take.rate), take.filled);
      if (!take.rate || end <= begin) {
        if (take.state === "failed" && this.waiting) this.pause();
        return; // it has not arrived yet, or never will
      }
      const samples = take.samples.slice(begin, end);
      const step = (take.gain - this.gain) / samples.length;
      for (let i = 0; i < samples.length; i++) samples[i] *= this.gain + step * (i + 1);
      this.gain = take.gain;
      const buffer = this.audio.createBuffer(1, samples.length, take.rate);
      buffer.copyToChannel(samples, 0);
      const source = new AudioBufferSourceNode(this.audio, { buffer });
      source.connect(this.#bus);
      const at = Math.max(this.#end, this.audio.currentTime + 0.03);
      source.start(at);
      this.#slices.push({ at, from: begin / take.rate, length: samples.length / take.rate });
    }
  }

  #finish() {
    this.#stop();
    this.#position = 0;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
