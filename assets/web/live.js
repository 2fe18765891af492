// A run as it goes on: one stream of its history, its new rows and its state. It reconnects by itself, and says when the lab is away. A tab
// that nobody sees holds no stream, as a browser opens six connections to a lab in all: it asks for the state now and then.
import { ask, runAddress } from "/lab/assets/dom.js";

const AWAY_AFTER_MS = 2500; // shorter interruptions are nobody's business
const RETRY_MS = 2000;
const HIDDEN_MS = 20_000; // so long out of sight, and the stream is given back
const ASKING_MS = 5000;
export const ENDED = ["succeeded", "stopped", "failed", "interrupted"];

// on: {history({series, n_rows, last_step}), rows([row…]), status({…}), away(bool)} -> {close(), open()}
export function follow(runId, on, points = 1500) {
  let [source, away, retry, resting, hasHistory, ended] = [null, null, null, null, false, false];

  function open() {
    close();
    document.addEventListener("visibilitychange", turned);
    if (document.hidden) resting = setTimeout(rest, HIDDEN_MS);
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

  // A run that has ended has nothing more to say.
  function restIfEnded() {
    if (ended && hasHistory) close();
  }

  function turned() {
    clearTimeout(resting);
    if (document.hidden) resting = setTimeout(rest, HIDDEN_MS);
    else if (!source) open();
  }

  function rest() {
    clearTimeout(retry);
    source?.close();
    source = null;
    askNow();
  }

  async function askNow() {
    resting = setTimeout(askNow, ASKING_MS);
    const now = await ask(runAddress(runId)).catch(() => null); // the stream will say whether the lab is away
    if (!now || !resting || source) return;
    if (ENDED.includes(now.state)) clearTimeout(resting);
    on.status(now);
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
    document.removeEventListener("visibilitychange", turned);
    clearTimeout(retry);
    clearTimeout(resting);
    source?.close();
    [source, resting] = [null, null];
  }

  return {
    open,
    close() {
      clearTimeout(away);
      close();
    },
  };
}
