// The server: JSON in and out, every failure one Problem with a kind and a sentence.

export class Problem extends Error {
  constructor(status, { kind, message, retry_after: retry }) {
    super(message);
    Object.assign(this, { status, kind, retry });
  }
}

const lost = new EventTarget();
export const onLost = (listener) => lost.addEventListener("lost", listener);

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost.dispatchEvent(new Event("lost"));
    throw new Problem(0, { kind: "gone", message: "The server does not answer." });
  }
  if (response.ok) return response;
  const about = await response.json().catch(() => ({ kind: "http", message: `The server answered ${response.status}.` }));
  throw new Problem(response.status, about);
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
const read = async (path, options) => (await ask(path, options)).json();

export const about = () => read("about");
export const components = () => read("components");
export const ready = (pair) => read("ready", json(pair));
export const examples = () => read("examples");
export const getScore = (id) => read(`scores/${encodeURIComponent(id)}`);
export const upload = (data, name) =>
  read(`scores?name=${encodeURIComponent(name)}`, { method: "POST", headers: { "Content-Type": "audio/midi" }, body: data });
export const map = (model) => read(`models/${encodeURIComponent(model)}/map`);
export const shade = (model, by) => read(`models/${encodeURIComponent(model)}/shade?by=${by}`);
export const begin = (job) => read("jobs", json(job));
export const job = (id) => read(`jobs/${id}`);
export const cancel = (id) => ask(`jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});
export const resultURL = (id, format) => `api/jobs/${id}/result?format=${format}`;

// The log-mel of a stretch: { values: Float32Array, frames, bands }.
export async function mel(wanted, signal) {
  const options = json(wanted);
  options.headers.Accept = "application/octet-stream";
  const response = await ask("mel", { ...options, signal });
  const [frames, bands] = ["M2M-Frames", "M2M-Bands"].map((name) => Number(response.headers.get(name)));
  return { values: new Float32Array(await response.arrayBuffer()), frames, bands };
}

const HEADER = 58; // bytes of the WAV header that `stream` begins with

// Read a job's audio while it is rendered: `head(samples, rate)` once, then `block(Float32Array)` again and again.
export async function stream(id, head, block, signal) {
  const reader = (await ask(`jobs/${id}/stream`, { signal })).body.getReader();
  let rest = new Uint8Array(0);
  let begun = false;
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
      head(view.getUint32(54, true) / 4, view.getUint32(24, true));
      rest = rest.slice(HEADER);
      begun = true;
    }
    const whole = rest.length - (rest.length % 4);
    if (whole) block(new Float32Array(rest.buffer.slice(rest.byteOffset, rest.byteOffset + whole)));
    rest = rest.slice(whole);
  }
}
