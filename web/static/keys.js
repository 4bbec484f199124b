// @ts-check
// Keys that hold anywhere on the page, and files that are dropped on it.

import { page } from "./page.js";
import { openFile } from "./score.js";
import { state } from "./state.js";
import { selectTake } from "./takes.js";
import { playOrPause, seek } from "./transport.js";

/** @param {KeyboardEvent} event */
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || page.help.open) return;
  const target = event.target instanceof Element ? event.target : null;
  const control = target?.closest("button, select, input, a, label");
  const take = state.takes[Number(event.key) - 1];
  const onRange = control instanceof HTMLInputElement && control.type === "range";
  if (event.key === " " && !control) playOrPause();
  else if (control?.matches("select, input:not([type=range], [type=radio])")) return;
  else if (take) selectTake(take);
  else if (event.key.toLowerCase() === "l") page.loop.click();
  else if (event.key.toLowerCase() === "m") page.map.focus();
  else if (event.key === "Home" && !onRange) seek(0);
  else if (event.key === "?") page.help.showModal();
  else return;
  event.preventDefault();
}

addEventListener("keydown", press);
page.keys.addEventListener("click", () => page.help.showModal());

addEventListener("dragover", (event) => {
  event.preventDefault();
  page.drop.hidden = false;
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) page.drop.hidden = true; // it has left the window
});
addEventListener("drop", (event) => {
  event.preventDefault();
  page.drop.hidden = true;
  const dropped = event.dataTransfer?.files[0];
  if (dropped) openFile(dropped);
});
