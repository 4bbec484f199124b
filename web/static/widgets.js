// @ts-check
// The player and the pictures: one of each, which several modules drive.

import { TimbreMap } from "./map.js";
import { page } from "./page.js";
import { Player } from "./player.js";
import { Sheet } from "./sheet.js";

export const player = new Player();
export const map = new TimbreMap(page.map);
export const sheet = new Sheet({ roll: page.roll, mel: page.mel, over: page.over, whole: page.whole });
