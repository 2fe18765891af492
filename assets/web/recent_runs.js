// What is going on now, and the visitor's latest runs, small.
import { ago, ask, duration, h, problem } from "/lab/assets/dom.js";
import { spark } from "/lab/assets/spark.js";
import { LEARNED, LEARNED_IN_SHORT, hasLearned, told } from "/lab/assets/words.js";

const SHOWN = 3;
const BUSY = ["queued", "running", "stopping"];
const WORDS = { created: "not started", queued: "waiting", running: "running", stopping: "stopping", succeeded: "finished", stopped: "stopped, kept", failed: "failed", interrupted: "interrupted" };
const [OFTEN_MS, SELDOM_MS] = [3000, 20000];

// changed(cards): told whenever the list was read. -> {element, stop()}
export function recentRuns(changed) {
  const list = h("ul.recent-list");
  const element = h("section.home-recent", { "aria-labelledby": "home-recent", hidden: true }, h("div.lab-row.recent-head", {}, h("h2", { id: "home-recent" }, "Your runs"), h("a", { href: "/runs" }, "All runs")), list);
  let [timer, stopped, shown] = [0, false, ""];

  async function read() {
    clearTimeout(timer);
    let wait = SELDOM_MS;
    try {
      const { runs } = await ask("/lab/runs");
      if (stopped) return;
      const busy = runs.filter((card) => BUSY.includes(card.state));
      const latest = [...busy, ...runs.filter((card) => !busy.includes(card))].slice(0, SHOWN);
      changed(runs);
      if (JSON.stringify(latest) !== shown) {
        shown = JSON.stringify(latest);
        element.hidden = !latest.length;
        list.replaceChildren(...latest.map(card));
      }
      if (busy.length) wait = OFTEN_MS;
    } catch (error) {
      if (stopped) return;
      shown = "";
      element.hidden = false;
      list.replaceChildren(h("li", {}, problem(error)));
    }
    timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", read, { once: true }) : read()), wait);
  }

  read();
  return {
    element,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", read);
    },
  };
}

function card(run) {
  const closed = run.headline.gap_closed?.value;
  return h(
    "li",
    {},
    h(
      "a.lab-card.lab-plain.recent-run",
      { href: `/run?run=${encodeURIComponent(run.run_id)}` },
      h("span.recent-name", {}, run.title),
      h("span.lab-chip", { "data-state": run.state }, WORDS[run.state] ?? run.state),
      h("span.recent-result", {}, closed === undefined || closed === null ? doing(run) : [h("b.lab-number", {}, told(closed, "fraction")), ` of the gap closed${BUSY.includes(run.state) ? " so far" : ""}`]),
      hasLearned(closed) ? h("span.lab-note", { title: LEARNED }, LEARNED_IN_SHORT) : null,
      spark(run.spark, "KL while training", { width: 110, height: 30 }),
      h("span.lab-note", {}, BUSY.includes(run.state) && closed !== undefined && closed !== null ? doing(run) : ago(run.updated || run.created)),
    ),
  );
}

function doing(run) {
  if (run.state === "queued") return run.position > 0 ? `${run.position} before it in the queue` : "next in the queue";
  if (run.state === "running" && run.phase === "training") return `step ${run.step} of ${run.n_steps}${run.eta_s === null ? "" : `, about ${duration(run.eta_s)} left`}`;
  if (run.state === "running") return `${run.phase}…`;
  return run.state === "succeeded" ? "finished" : `ended at step ${run.step} of ${run.n_steps}`;
}
