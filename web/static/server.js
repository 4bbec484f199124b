// @ts-check
// Whether the server answers: the page says when it stops, and asks until it is back.

import * as api from "./api.js";
import { dismiss, notify } from "./notices.js";
import { state } from "./state.js";

const RETRY = 1500; // ms between two tries
const SHOWN = 4000; // ms that the good news is shown

/**
 * Watch the server.
 * @param {() => Promise<void>} onBack called each time that the server answers again
 */
export function watchServer(onBack) {
  api.onLost(async () => {
    if (!state.connected) return;
    state.connected = false;
    const text = "What has arrived still plays. Looking for it…";
    notify("server", "The server is gone.", text, { bad: true, action: "Hide" });
    await answered();
    state.connected = true;
    notify("server", "The server is back.", "Go on where you were.");
    setTimeout(() => state.connected && dismiss("server"), SHOWN);
    await onBack();
  });
}

async function answered() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, RETRY));
    try {
      return await api.about();
    } catch {
      // it does not answer yet
    }
  }
}

/** Send the score again: a server that was restarted has forgotten what was uploaded. */
export async function resend() {
  if (state.file) await api.upload(state.file).catch(() => {});
}
