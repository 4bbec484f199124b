// @ts-check
// Light and dark, and the size of the pictures.

import { stops } from "./colours.js";
import { paint } from "./mel.js";
import { page } from "./page.js";
import { list } from "./takes.js";
import { map, sheet } from "./widgets.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const preferred = () => localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");

function redraw() {
  map.draw();
  sheet.draw();
  list.redraw();
}

function applyTheme() {
  document.documentElement.dataset.theme = preferred();
  document.documentElement.style.setProperty("--ramp", stops("map").join(","));
  redraw();
}

dark.addEventListener("change", applyTheme);
page.theme.addEventListener("click", () => {
  localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  applyTheme();
});
applyTheme();
const resized = new ResizeObserver(() => (redraw(), paint()));
for (const box of [page.sheet, page.stage]) resized.observe(box); // a canvas that changes its size stretches what is drawn
