// A run as it goes on: one stream of its history, its new rows and its state. It reconnects by itself, and says when the lab is away.
import { runAddress } from "/lab/assets/dom.js";

const AWAY_AFTER_MS = 2500; // shorter interruptions are nobody's business
const RETRY_MS = 2000;
export const ENDED = ["succeeded", "stopped", "failed", "interrupted"];

// on: {history({series, n_rows, last_step}), rows([row…]), status({…}), away(bool)} -> {close(), open()}
export function follow(runId, on, points = 1500) {
  let [source, away, retry, hasHistory, ended] = [null, null, null, false, false];

  function open() {
    close();
    [hasHistory, ended] = [false, false];
    source = new EventSource(runAddress(runId, `/live?points=${points}`));
    source.addEventListener("open", isBack);
    source.addEventListener("error", isAway);
    source.addEventListener("history", (event) => {
      hasHistory = true;
      on.history(JSON.parse(event.data));
      restIfEnded();
    });
    source.addEventListener("rows", (event) => on.rows(JSON.parse(event.data).rows));
    source.addEventListener("status", (event) => {
      const status = JSON.parse(event.data);
      ended = ENDED.includes(status.state);
      on.status(status);
      restIfEnded();
    });
  }

  // A run that has ended has nothing more to say; browsers allow a page few connections.
  function restIfEnded() {
    if (ended && hasHistory) close();
  }

  function isBack() {
    clearTimeout(away);
    away = null;
    on.away(false);
  }

  function isAway() {
    away ??= setTimeout(() => on.away(true), AWAY_AFTER_MS);
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again
    clearTimeout(retry);
    retry = setTimeout(open, RETRY_MS);
  }

  function close() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  return {
    open,
    close() {
      clearTimeout(away);
      close();
    },
  };
}
