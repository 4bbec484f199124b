// @ts-check
// The choice of a model and a vocoder.

import * as api from "./api.js";
import { dismiss, notify } from "./notices.js";
import { page } from "./page.js";
import { state } from "./state.js";
import { closeMap, showMap } from "./timbre.js";

/** @import { ComponentInfo, Components, Ready } from "../messages.js" */
/** @typedef {ComponentInfo & { title?: string }} Choice title: what is shown in place of the name */

const UNTRAINED = "?"; // marks the name of a conditioner that no model has

/**
 * The name of the default among components, else of the first one that can be used.
 * @param {ComponentInfo[]} components
 */
export const defaultOf = (components) =>
  (components.find((one) => one.default) ?? components.find((one) => one.usable) ?? components[0])?.name ?? "";

/** @param {Components} components */
export function showComponents({ models, vocoders, conditioners }) {
  const trained = models.map((model) => {
    const alike = models.filter((other) => other.conditioner === model.conditioner).length > 1;
    return { ...model, title: alike ? `${model.conditioner} · ${model.name}` : model.conditioner };
  });
  const known = new Set(models.map((model) => model.conditioner));
  const untrained = conditioners
    .filter((one) => !known.has(one.name))
    .map((one) => ({ ...one, name: UNTRAINED + one.name, title: one.name, usable: false }));
  fill(page.model, [...trained, ...untrained], state.chosen.model);
  fill(page.vocoder, vocoders, state.chosen.vocoder);
}

/**
 * @param {HTMLSelectElement} select
 * @param {Choice[]} choices
 * @param {string} value
 */
function fill(select, choices, value) {
  select.replaceChildren(
    ...choices.map((choice) => {
      const title = choice.title ?? choice.name;
      const option = new Option(choice.usable ? title : `${title} (not usable)`, choice.name);
      option.title = choice.note || choice.summary || "";
      return option;
    }),
  );
  select.value = value;
  select.disabled = false;
}

/**
 * Choose a model or a vocoder, and load it: recordings wait until it is there. Where it cannot be used, say why and go back
 * to the last one.
 * @param {"model" | "vocoder"} kind
 * @param {string} name
 */
export async function choose(kind, name) {
  const select = page[kind];
  const title = name.replace(UNTRAINED, "");
  const before = state.chosen[kind];
  const untrained =
    name.startsWith(UNTRAINED) && state.components?.conditioners.find((one) => one.name === name.slice(1));
  state.chosen = { ...state.chosen, [kind]: name };
  select.setAttribute("aria-busy", "true");
  if (kind === "model") closeMap(`Loading ${title}…`);
  const loading = untrained ? Promise.reject(new Error(untrained.note)) : api.ready(state.chosen);
  state.loading = { ...state.loading, [kind]: loading };
  const latest = () => state.loading[kind] === loading; // no other was chosen since
  try {
    const loaded = await loading;
    dismiss("component");
    caution(loaded);
  } catch (error) {
    if (latest()) {
      state.chosen = { ...state.chosen, [kind]: before };
      select.value = before;
    }
    const action = `Stay with ${state.conditionerOf(before)}`;
    notify("component", `${title} cannot be used.`, api.messageOf(error), { bad: true, action });
    state.components = await api.components().catch(() => state.components);
    if (state.components) showComponents(state.components);
  }
  if (!latest()) return;
  state.loading = { ...state.loading, [kind]: null };
  select.removeAttribute("aria-busy");
  if (kind === "model") await showMap();
}

/**
 * Show what a vocoder says of itself, such as that its weights are not yet good.
 * @param {Ready} loaded
 */
export function caution({ vocoder, notice }) {
  if (notice) notify("component", `About ${vocoder}`, notice);
}
