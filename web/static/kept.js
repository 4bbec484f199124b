// @ts-check
// What the browser keeps over a reload: the score, its mix, and the recordings. Where it cannot (private windows, a full disk),
// the page does without.

import { Take } from "./take.js";

/** @import { Upload } from "./api.js" */
/** @import { Mixer } from "./mixer.js" */
/** @typedef {{ id: string, file: Upload | null }} KeptScore file: null of an example */

const [SCORE, MIX, TAKE] = ["score", "mix", "take"]; // keys; of recordings with their number
let number = Date.now(); // rises from one visit to the next
/** @type {Map<Take, string>} */
const keys = new Map();

/** @type {Promise<IDBDatabase>} */
const database = new Promise((resolve, reject) => {
  const asked = indexedDB.open("m2m", 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore("kept");
  asked.onsuccess = () => resolve(asked.result);
  asked.onerror = () => reject(asked.error);
});
database.catch(() => {});

/**
 * @template T
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @param {IDBTransactionMode} [mode]
 * @returns {Promise<T | undefined>} undefined where the browser keeps nothing
 */
async function ask(act, mode = "readonly") {
  try {
    const store = (await database).transaction("kept", mode).objectStore("kept");
    return await new Promise((resolve, reject) => {
      const asked = act(store);
      asked.onsuccess = () => resolve(asked.result);
      asked.onerror = () => reject(asked.error);
    });
  } catch {
    return undefined;
  }
}

/** @param {string} key @param {unknown} value */
const put = (key, value) => ask((store) => store.put(value, key), "readwrite");

/** @param {KeptScore | null} score null: it was closed */
export const keepScore = (score) => put(SCORE, score);

/** @returns {Promise<KeptScore | null | undefined>} undefined on a first visit */
export const recallScore = () => ask((store) => store.get(SCORE));

/** @param {Mixer} mixer */
export const keepMixer = (mixer) => put(MIX, mixer);

/** @returns {Promise<Mixer | undefined>} */
export const recallMixer = () => ask((store) => store.get(MIX));

/** @param {Take} take that is finished */
export function keepTake(take) {
  if (!keys.has(take)) keys.set(take, `${TAKE}${number++}`);
  return put(keys.get(take) ?? "", take.record);
}

/** @param {Take} take */
export function forgetTake(take) {
  const key = keys.get(take);
  keys.delete(take);
  if (key) ask((store) => store.delete(key), "readwrite");
}

/** @returns {Promise<Take[]>} the recordings that are kept, oldest first */
export async function recallTakes() {
  const range = IDBKeyRange.bound(TAKE, `${TAKE}~`);
  const [names, records] = [await ask((store) => store.getAllKeys(range)), await ask((store) => store.getAll(range))];
  return (records ?? []).map((record, i) => {
    const take = Take.of(record);
    keys.set(take, String(names?.[i]));
    return take;
  });
}
