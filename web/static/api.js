// @ts-check
// The server: JSON in and out. Whatever fails is one Problem with a kind and a sentence.

/**
 * @import { About, Components, Example, JobInfo, JobRequest, MapInfo, MelRequest, Problem as ProblemInfo, Ready,
 *   ReadyRequest, ScoreInfo, Shade } from "../messages.js"
 */
/**
 * A file to send. audio: whether it is a recording, not a score.
 * @typedef {{ data: ArrayBuffer, name: string, audio?: boolean }} Upload
 */
/**
 * A log-mel, frame by frame.
 * @typedef {{ values: Float32Array, frames: number, bands: number }} Mel
 */

export class Problem extends Error {
  /**
   * @param {number} status of HTTP; 0 where the server did not answer
   * @param {Pick<ProblemInfo, "kind" | "message"> & Partial<ProblemInfo>} about
   */
  constructor(status, { kind, message, retry_after: retry }) {
    super(message);
    this.status = status;
    this.kind = kind;
    this.retry = retry; // seconds, where trying again may help
  }
}

/** @param {unknown} error @param {string} kind @returns {boolean} whether the server refused for that reason */
export const isProblem = (error, kind) => error instanceof Problem && error.kind === kind;

/** @param {unknown} error @returns {string} what a caught error says */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/** @param {unknown} error @returns {boolean} whether an AbortController stopped the request */
export const isAbort = (error) => error instanceof Error && error.name === "AbortError";

const lost = new EventTarget();

/** @param {() => void} listener called whenever the server does not answer */
export const onLost = (listener) => lost.addEventListener("lost", listener);

/**
 * @param {string} path below api/
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} the answer, which is a success; else it throws a Problem
 */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch (error) {
    if (isAbort(error)) throw error;
    lost.dispatchEvent(new Event("lost"));
    throw new Problem(0, { kind: "gone", message: "The server does not answer." });
  }
  if (response.ok) return response;
  const unknown = { kind: "http", message: `The server answered ${response.status}.` };
  throw new Problem(response.status, await response.json().catch(() => unknown));
}

/** @param {object} body @param {Record<string, string>} [headers] @returns {RequestInit} */
const json = (body, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

/** @param {string} path @param {RequestInit} [options] */
const read = async (path, options) => (await ask(path, options)).json();

/** @returns {Promise<About>} */
export const about = () => read("about");

/** @returns {Promise<Components>} */
export const components = () => read("components");

/** @param {ReadyRequest} pair @returns {Promise<Ready>} */
export const ready = (pair) => read("ready", json(pair));

/** @returns {Promise<Example[]>} */
export const examples = () => read("examples");

/** @param {string} id @returns {Promise<ScoreInfo>} */
export const getScore = (id) => read(`scores/${encodeURIComponent(id)}`);

/** @param {Upload} file @param {AbortSignal} [signal] @returns {Promise<ScoreInfo>} of a recording, its notes */
export const upload = ({ data, name, audio }, signal) =>
  read(`${audio ? "recordings" : "scores"}?name=${encodeURIComponent(name)}`, {
    method: "POST",
    headers: { "Content-Type": audio ? "application/octet-stream" : "audio/midi" },
    body: data,
    signal,
  });

/** @param {string} model @returns {Promise<MapInfo>} */
export const map = (model) => read(`models/${encodeURIComponent(model)}/map`);

/** @param {string} model @param {string} by @returns {Promise<Shade>} */
export const shade = (model, by) => read(`models/${encodeURIComponent(model)}/shade?by=${by}`);

/** @param {JobRequest} job @returns {Promise<JobInfo>} */
export const begin = (job) => read("jobs", json(job));

/** @param {string} id @returns {Promise<JobInfo>} */
export const job = (id) => read(`jobs/${id}`);

/** @param {string} id */
export const cancel = (id) => ask(`jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});

/** @param {string} id @param {"wav" | "flac"} format */
export const resultURL = (id, format) => `api/jobs/${id}/result?format=${format}`;

const RAW = { Accept: "application/octet-stream" };

/** @param {MelRequest} wanted */
export const mel = (wanted) => readMel("mel", json(wanted, RAW));

/**
 * The mel of the recording that a score was transcribed from.
 * @param {string} score
 * @param {number} start second
 * @param {number} stop
 */
export const recordedMel = (score, start, stop) =>
  readMel(`scores/${encodeURIComponent(score)}/mel?start=${start}&stop=${stop}`, { headers: RAW });

/** @param {string} path @param {RequestInit} options @returns {Promise<Mel>} */
async function readMel(path, options) {
  const response = await ask(path, options);
  const [frames, bands] = ["M2M-Frames", "M2M-Bands"].map((name) => Number(response.headers.get(name)));
  return { values: new Float32Array(await response.arrayBuffer()), frames, bands };
}

const HEADER = 58; // bytes of the WAV header that `stream` begins with
const CHANNELS = 22; // byte of the header at which the number of channels stands
const RATE = 24; // byte of the header at which the sample rate stands, in Hz
const LENGTH = 54; // byte at which the number of audio bytes stands, four for each sample of a channel

/**
 * Read a job's audio while it is rendered.
 * @param {string} id
 * @param {(samples: number, rate: number, channels: number) => void} head called once, with the samples of a channel and the
 *   rate in Hz
 * @param {(block: Float32Array) => void} block called with each block of samples, the channels' in turn
 * @param {AbortSignal} signal
 */
export async function stream(id, head, block, signal) {
  const { body } = await ask(`jobs/${id}/stream`, { signal });
  if (!body) return;
  const reader = body.getReader();
  let rest = new Uint8Array(0);
  let begun = false;
  let size = 4; // bytes of a sample of all channels
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const bytes = new Uint8Array(rest.length + value.length);
    bytes.set(rest);
    bytes.set(value, rest.length);
    rest = bytes;
    if (!begun) {
      if (rest.length < HEADER) continue;
      const view = new DataView(rest.buffer);
      const channels = view.getUint16(CHANNELS, true);
      size = 4 * channels;
      head(view.getUint32(LENGTH, true) / size, view.getUint32(RATE, true), channels);
      rest = rest.slice(HEADER);
      begun = true;
    }
    const whole = rest.length - (rest.length % size);
    if (whole) block(new Float32Array(rest.buffer.slice(rest.byteOffset, rest.byteOffset + whole)));
    rest = rest.slice(whole);
  }
}
