// @ts-check
// Notices, one of each kind, in a place of their own, so that nothing moves; and veils over a picture that is missing.

import { makeButton, page } from "./page.js";

/** @type {Map<string, HTMLElement>} */
const notices = new Map();

/**
 * Show a notice in place of the last one of its kind.
 * @param {string} kind
 * @param {string} title
 * @param {string} text
 * @param {{ bad?: boolean, action?: string, act?: () => void }} [options] action: the button's label; act: what it does
 *   besides dismissing the notice
 */
export function notify(kind, title, text, { bad = false, action = "Dismiss", act } = {}) {
  dismiss(kind);
  const box = document.createElement("div");
  box.className = `notice${bad ? " bad" : ""}`;
  box.dataset.kind = kind;
  const words = document.createElement("div");
  const strong = document.createElement("b");
  strong.textContent = title;
  words.append(strong, text);
  box.append(words);
  box.append(makeButton(action, () => (dismiss(kind), act?.())));
  page.notices.append(box);
  notices.set(kind, box);
}

/** @param {string} kind */
export function dismiss(kind) {
  notices.get(kind)?.remove();
  notices.delete(kind);
}

/**
 * Cover a picture while it loads, where there is nothing to show, or with an error and what can be done about it.
 * @param {HTMLElement} box
 * @param {{ title?: string, text?: string, bad?: boolean, busy?: boolean, buttons?: [string, () => void][] }} [content]
 */
export function veil(box, { title = "", text = "", bad = false, busy = false, buttons = [] } = {}) {
  box.hidden = false;
  box.className = `veil${bad ? " bad" : ""}`;
  box.replaceChildren();
  if (busy) box.append(Object.assign(document.createElement("span"), { className: "pulse" }));
  if (title) box.append(Object.assign(document.createElement("h3"), { textContent: title }));
  if (text) box.append(Object.assign(document.createElement("p"), { textContent: text }));
  const row = Object.assign(document.createElement("div"), { className: "row" });
  row.append(...buttons.map(([label, act], i) => makeButton(label, act, i ? "button" : "button strong")));
  if (buttons.length) box.append(row);
}
