// The page of one run. It reads what was saved, never a form: the settings, the numbers and the state are those of the run itself.
import { ask, empty, h, problem, runAddress, show } from "/lab/assets/dom.js";
import { askToDelete, nameField, sharing } from "/lab/assets/actions.js";
import { loadPlotly } from "/lab/assets/chart.js";
import { ENDED, follow } from "/lab/assets/live.js";
import { logTail } from "/lab/assets/log.js";
import { called, isBusy, progress, stateWord, tabTitle } from "/lab/assets/progress.js";
import { publishing } from "/lab/assets/publish.js";
import { mount as mountReplay } from "/lab/assets/replay.js";
import { measuredNow, result } from "/lab/assets/result.js";
import { runCharts } from "/lab/assets/run_charts.js";
import { cameFrom, ending, runButtons } from "/lab/assets/run_head.js";
import { Series } from "/lab/assets/series.js";
import { computed, inShort, settingsTable, spliced } from "/lab/assets/settings.js";
import { style } from "/lab/assets/style.js";
import { gapSentence } from "/lab/assets/words.js";

const ASK_AGAIN_MS = 3000;

// props: {defaults}: the settings of a run that changes nothing.
export async function mount(element, { defaults }) {
  const dressed = style("run");
  const runId = new URL(location.href).searchParams.get("run");
  if (!runId) {
    await dressed;
    element.replaceChildren(empty("This address names no run.", { href: "/runs", text: "See all runs" }));
    return undefined;
  }
  const asked = ask(runAddress(runId));
  loadPlotly().catch(() => {}); // read while the lab answers; a chart that cannot be drawn says so itself
  await dressed;
  element.replaceChildren(h("p.lab-note", { role: "status" }, "Opening the run…"));
  const summary = await asked.catch((error) => {
    element.replaceChildren(h("div.lab-stack", {}, problem(error), h("div", {}, h("a.lab-button", { href: "/runs" }, "See all runs"))));
  });
  return summary && page(element, summary, defaults);
}

function page(element, summary, defaults) {
  let [run, unmountReplay, closed, shown] = [summary, null, false, ""];
  const series = new Series();
  const parts = { progress: progress(), result: result(), charts: runCharts(() => run, series) };
  const away = h("div.run-away", { role: "status" });
  const buttons = h("div.run-buttons");
  const end = h("div");
  const title = h("p.lab-note.run-title");
  const descent = h("div", {}, cameFrom(run.descent));
  const saes = h("div");
  const replay = h("div");
  const keeping = h("div.lab-stack");
  const published = h("div");
  const filesBox = h("div", {}, files(run));

  element.replaceChildren(
    h("nav.run-crumbs", { "aria-label": "Where you are" }, h("a", { href: "/runs" }, "Runs"), h("span", { "aria-hidden": "true" }, " / ")),
    h("header.run-head", {}, h("div", {}, nameField(run, changed), title, descent), buttons),
    parts.progress.element,
    away,
    end,
    parts.result.element,
    section("Charts", parts.charts.element),
    section("Replay", replay),
    section("Settings", saes, settingsTable(run.config, defaults, run.saes)),
    section("Files", filesBox, logTail(run)),
    published,
    section("Who may look", keeping),
  );
  const live = follow(run.run_id, { history, rows, status, away: tellAway });
  live.open();
  update();
  playReplay();

  function history({ series: columns }) {
    series.replace(columns);
    parts.charts.forget();
    parts.charts.redraw().catch(tellTrouble);
    parts.result.update(run, series);
  }

  function rows(fresh) {
    series.add(fresh);
    parts.charts.update();
    if (fresh.some((row) => "gap_closed" in row || "ce_gap_before" in row)) {
      parts.result.update(run, series);
      playReplay(); // an evaluation adds a frame
    }
  }

  async function status(now) {
    const before = run;
    run = { ...run, ...now };
    if (ENDED.includes(now.state) && !ENDED.includes(before.state)) await hasEnded();
    if (!closed) update();
  }

  async function hasEnded() {
    run = await ask(runAddress(run.run_id)).catch(() => run); // with its results, and with what can be done now
    filesBox.replaceChildren(files(run));
    descent.replaceChildren(...[cameFrom(run.descent)].filter(Boolean));
    playReplay();
    if (wantsNotice(run.run_id))
      new Notification(called(run), { body: `${stateWord(run.state)}. ${gapSentence(measuredNow(run, series).plain, "", run.state)}` });
  }

  function changed(part) {
    const resumed = part.state && !ENDED.includes(part.state) && ENDED.includes(run.state);
    const kept = run.results?.gap_closed ? { step: run.step, gap_closed: run.results.gap_closed } : (run.kept ?? null);
    run = { ...run, ...part, ...(resumed ? { results: null, kept } : {}) };
    update();
    if (resumed) live.open();
  }

  function update() {
    title.textContent = inShort(run);
    parts.progress.update(run);
    const doable = JSON.stringify([run.state, run.resume_blocked, run.message, Boolean(run.results), run.step > 0]);
    if (doable !== shown) {
      shown = doable; // buttons stay in place, with the focus on them, until something else can be done
      buttons.replaceChildren(...runButtons(run, changed));
      end.replaceChildren(...ending(run));
      keeping.replaceChildren(...keepingNow());
      published.replaceChildren(...(run.results && run.may_act ? [section("Publish", publishing(run))] : []));
    }
    parts.result.update(run, series);
    saes.replaceChildren(...[spliced(run.saes), computed(run)].filter(Boolean));
    const closedShare = run.headline?.gap_closed?.value;
    document.title = tabTitle(run, closedShare === undefined ? "" : show(closedShare, "fraction"));
  }

  // What keeps a run from being resumed may pass: its process that is just ending, a text that was moved.
  const askAgain = setInterval(async () => {
    if (!run.resume_blocked) return;
    const { resume_blocked } = await ask(runAddress(run.run_id)).catch(() => run);
    if (!closed) changed({ resume_blocked });
  }, ASK_AGAIN_MS);

  async function playReplay() {
    unmountReplay?.();
    unmountReplay = await mountReplay(replay, { run: run.run_id });
  }

  function tellAway(gone) {
    away.replaceChildren(...(gone ? [h("p", {}, "The lab does not answer. If it is starting again, this page reconnects by itself; if it was ended, start it again (make run). Your run is safe.")] : []));
  }

  function tellTrouble(error) {
    parts.charts.element.replaceChildren(problem(error));
  }

  function keepingNow() {
    if (run.is_example)
      return [h("p.lab-note", {}, "This is the example that comes with the lab: everybody can look at it, nobody can change it.")];
    const remove = h(
      "button.lab-button.danger",
      { type: "button", onclick: () => askToDelete(run, () => location.assign("/runs")) },
      "Delete this run…",
    );
    return [sharing(run, changed), ...(run.may_act && !isBusy(run.state) ? [h("div", {}, remove)] : [])];
  }

  return () => {
    closed = true;
    clearInterval(askAgain);
    live.close();
    unmountReplay?.();
    parts.charts.destroy();
  };
}

const wantsNotice = (runId) => sessionStorage.getItem("lab-notice") === runId && window.Notification?.permission === "granted";

const section = (heading, ...content) => h("section.run-section", { "aria-label": heading }, h("h2", {}, heading), ...content);

function files(run) {
  const file = (name, words) => h("a.lab-button", { href: runAddress(run.run_id, `/files/${name}`), download: true, title: words }, name);
  const always = [
    file("config.yaml", "the settings, to start the same run again"),
    file("metrics.csv", "every measurement, one row per step"),
    file("run.log", "what the run said"),
  ];
  const result = [
    file("adapter.zip", "the adapter in PEFT format"),
    file("lorasae.json", "the result, with everything needed to use and verify the adapter"),
  ];
  return h("div.lab-row", {}, ...(run.results ? result : []), ...always);
}
