// The pass over held-out text: done once for each run and SAE, it brings densities, labels, fates and examples. Leaving gives it up.
import { runAddress } from "/lab/assets/dom.js";

// on: {progress(done, total), ready(), problem(Error)}; -> stop()
export function followActivity(run, { release, sae_id }, on) {
  const source = new EventSource(runAddress(run, `/activity?${new URLSearchParams({ release, sae_id })}`));
  source.addEventListener("progress", (event) => {
    const { done, total } = JSON.parse(event.data);
    on.progress(done, total);
  });
  source.addEventListener("ready", () => {
    source.close();
    on.ready();
  });
  source.addEventListener("problem", (event) => {
    source.close();
    on.problem(new Error(JSON.parse(event.data).problem));
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) on.problem(new Error("The lab stopped reading held-out text. It may be restarting: reload the page in a moment."));
  });
  return () => source.close();
}
