// Several runs beside each other: their curves in one picture, the settings that differ, and their results with the differences to the
// first.
import { ask, h, metrics, problem, runAddress } from "/lab/assets/dom.js";
import { charts } from "/lab/assets/charts.js";
import { called, isBusy, stateChip, stateWord } from "/lab/assets/progress.js";
import { Series, xAxis } from "/lab/assets/series.js";
import { flat, same, spelledOut, told } from "/lab/assets/settings.js";
import { style } from "/lab/assets/style.js";
import { CAVEATS, LEARNED, deeper, hasLearned, told as shown } from "/lab/assets/words.js";

const LOOK_AGAIN_MS = 3000;
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const N_COLOURS = 6;
const PARTS = "Lines: on an eighth of the text. Diamonds, and the numbers above of runs that have one: on all of the text.";
const SPECS = [
  {
    key: "gap_closed",
    title: "Gap closed",
    unit: "fraction",
    fromZero: true,
    metric: "gap_closed",
    marks: true,
    caveat: CAVEATS.gap,
    sentence: "The share of the damage repaired at each evaluation. Higher is better; above 100 % the model learned the text. " + PARTS,
  },
  {
    key: "kl_adapted_sae",
    title: "KL, held-out",
    unit: "nats/token",
    fromZero: true,
    metric: "kl_adapted_sae",
    marks: true,
    caveat: CAVEATS.kl,
    sentence: "How far predictions are from the original's on held-out text. Lower is better. " + PARTS,
  },
  {
    key: "kl_train",
    title: "KL, training text",
    unit: "nats/token",
    fromZero: true,
    metric: "kl_train",
    smooth: true,
    caveat: CAVEATS.kl,
    sentence: "The same while training, one value per step; smoothed, with the raw line behind it.",
  },
];
const RESULTS = [
  "gap_closed",
  "ce_gap_before",
  "ce_gap_after",
  "kl_original_sae",
  "kl_adapted_sae",
  "loss_recovered_adapted_sae",
  "ce_change_adapted",
];

const LEARNABLE = ["gap_closed", "ce_gap_after", "loss_recovered_adapted_sae"]; // no best one among them where a run learned its text

export async function compare(element, runIds) {
  await style("compare");
  element.replaceChildren(h("p.lab-note", { role: "status" }, "Opening the runs…"));
  const [found, missing] = [[], []];
  for (const answer of await Promise.allSettled([...new Set(runIds)].map(opened)))
    (answer.status === "fulfilled" ? found : missing).push(answer.value ?? answer.reason);
  found.forEach((run, i) => Object.assign(run, { colour: `run-${(i % N_COLOURS) + 1}`, dash: DASHES[i % DASHES.length] }));
  for (const run of found)
    run.label =
      found.filter((other) => called(other) === called(run)).length > 1 ? `${called(run)} (${run.run_id.slice(-6)})` : called(run);
  const back = `/runs?select=${found.map(({ run_id }) => encodeURIComponent(run_id)).join(",")}`;
  const head = h(
    "header.run-head",
    {},
    h(
      "div",
      {},
      h(
        "nav.run-crumbs",
        { "aria-label": "Where you are" },
        h("a", { href: "/runs" }, "Runs"),
        h("span", { "aria-hidden": "true" }, " / "),
      ),
      h("h1", {}, `Compare ${found.length} runs`),
    ),
    h("a.lab-button", { href: back }, "Change the selection"),
  );
  const { metrics: table } = await metrics();
  element.replaceChildren(head, ...missing.map(problem));
  if (!found.length) return undefined;
  const grid = overlaid(found);
  const results = h("div");
  element.append(
    legend(found),
    h("section.run-section", { "aria-label": "Curves" }, h("h2", {}, "Curves"), grid.element),
    h(
      "section.run-section",
      { "aria-label": "Results" },
      h("h2", {}, "Results"),
      h("p.lab-note", {}, `Differences are to the first run, “${found[0].label}”. Each run was measured on its own held-out text, all of it.`),
      results,
      h(
        "p",
        {},
        h("a.lab-button", { download: "runs-compared.csv", href: "#", onclick: ({ target }) => (target.href = csvAddress(found)) }, "CSV"),
      ),
    ),
    h("section.run-section", { "aria-label": "Settings" }, h("h2", {}, "Settings"), settings(found)),
  );
  const drawResults = () => results.replaceChildren(resultsTable(found, table));
  drawResults();
  grid.redraw().catch((error) => grid.element.replaceChildren(problem(error)));
  return keepLooking(
    found,
    () => {
      grid.update();
      drawResults();
    },
    grid.destroy,
  );
}

async function opened(runId) {
  const [run, { series }] = await Promise.all([ask(runAddress(runId)), ask(runAddress(runId, "/series?points=1500"))]);
  return { ...run, series: new Series(series) };
}

// Runs that go on are read again; the selection stays what it is.
function keepLooking(runs, drawn, ended) {
  let [timer, closed] = [null, false];
  async function look() {
    const busy = runs.filter(({ state }) => isBusy(state));
    if (!busy.length || closed) return;
    if (!document.hidden) {
      await Promise.allSettled(busy.map(async (run) => Object.assign(run, await opened(run.run_id))));
      if (!closed) drawn();
    }
    timer = setTimeout(look, LOOK_AGAIN_MS);
  }
  timer = setTimeout(look, LOOK_AGAIN_MS);
  return () => {
    closed = true;
    clearTimeout(timer);
    ended();
  };
}

function overlaid(runs) {
  const axisOf = (run, kind) => xAxis(kind, run.series, run.tokens_per_step);
  return charts(
    SPECS.map((spec) => ({ ...spec, more: deeper([spec.metric], spec.caveat) })),
    {
      name: () => "comparison",
      axis: (kind) => axisOf(runs[0], kind).label,
      sentence: ({ sentence }) => sentence,
      curves: ({ metric, marks, smooth }, kind) =>
        runs
          .map((run) => ({ run, points: run.series.of(metric) }))
          .filter(({ points: [steps] }) => steps.length)
          .flatMap(({ run, points: [steps, values] }) => {
            const of = axisOf(run, kind).of;
            const { label, colour, dash } = run;
            const resting = marks ? (run.results?.[metric]?.value ?? null) : null;
            const line = { label, colour, dash, marks, smooth, resting, points: [steps.map(of), values] };
            const final = { label: `${label}, all of the text`, colour, marks: "diamond", unlisted: true };
            return resting === null ? [line] : [line, { ...final, points: [[of(run.series.lastStep)], [resting]] }];
          }),
    },
  );
}

const legend = (runs) =>
  h(
    "ul.compare-runs",
    {},
    ...runs.map((run) =>
      h(
        "li",
        {},
        h("span.compare-swatch", { "aria-hidden": "true", style: `border-top-color: var(--lab-${run.colour})`, "data-dash": run.dash }),
        h("a", { href: `/run?run=${encodeURIComponent(run.run_id)}` }, run.label),
        stateChip(run),
      ),
    ),
  );

const csvAddress = (runs) => `data:text/csv;charset=utf-8,${encodeURIComponent(resultsCsv(runs))}`;
const scrolled = (label, table) => h("div.lab-scroll.compare-table", { tabindex: 0, role: "region", "aria-label": label }, table);
const columns = (runs) => h("thead", {}, h("tr", {}, h("td", {}), ...runs.map((run) => h("th", { scope: "col" }, run.label))));

function resultsTable(runs, table) {
  const incomparable = differences(runs);
  const row = (key) => {
    const { label, unit, better } = table[key];
    const learned = LEARNABLE.includes(key) && runs.some((run) => hasLearned(run.results?.gap_closed?.value));
    const ranked = better !== "neither" && !learned && !incomparable.length && !key.endsWith("before") && key !== "kl_original_sae";
    const entries = runs.map((run) => run.results?.[key] ?? null);
    const best = ranked ? bestOf(entries, better) : null;
    const cells = entries.map((entry, i) => resultCell(entry, i ? entries[0] : null, unit, entry !== null && entry === best, runs[i]));
    return h("tr", {}, h("th", { scope: "row" }, label, h("span.lab-note", {}, ` ${unit === "fraction" ? "" : unit}`)), ...cells);
  };
  const rows = scrolled("The results as a table", h("table.lab-table", {}, columns(runs), h("tbody", {}, ...RESULTS.map(row))));
  const above = runs.filter((run) => hasLearned(run.results?.gap_closed?.value)).map(({ label }) => `“${label}”`);
  return h(
    "div",
    {},
    above.length ? h("p.lab-note", {}, `Above 100 %: ${above.join(", ")}. ${LEARNED}`) : null,
    incomparable.length
      ? h("p.lab-note", {}, `These runs differ in ${incomparable.join(" and in ")}: their losses and gaps say different things, so none is called best.`)
      : null,
    rows,
  );
}

// What makes results say different things.
function differences(runs) {
  const differ = (of) => new Set(runs.map((run) => JSON.stringify(of(run)))).size > 1;
  return [
    differ(({ config }) => config.model.model) ? "model" : null,
    differ(({ saes }) => saes.map(({ release, sae_id }) => [release, sae_id])) ? "SAE" : null,
    differ(({ config }) => config.data) ? "text" : null,
  ].filter(Boolean);
}

// The best entry, if it is better than every other by more than both their errors could make it.
function bestOf(entries, better) {
  const known = entries.filter((entry) => typeof entry?.value === "number");
  const sign = better === "higher" ? 1 : -1;
  const [first, ...others] = [...known].sort((a, b) => sign * (b.value - a.value));
  const clear = (other) => Math.abs(first.value - other.value) > 2 * Math.hypot(first.standard_error ?? 0, other.standard_error ?? 0);
  return others.length && others.every(clear) ? first : null;
}

function resultCell(entry, first, unit, isBest, run) {
  if (typeof entry?.value !== "number") return h("td", {}, h("span.lab-note", {}, isBusy(run.state) ? "not finished" : stateWord(run.state)));
  const amount = (value) => (unit === "fraction" ? `${(100 * Math.abs(value)).toFixed(1)}` : shown(Math.abs(value), unit));
  const change = typeof first?.value === "number" ? entry.value - first.value : null;
  return h(
    "td",
    {},
    isBest ? h("strong", {}, shown(entry.value, unit)) : shown(entry.value, unit),
    entry.standard_error ? h("span.lab-note.compare-error", {}, ` ± ${amount(entry.standard_error)}`) : null,
    isBest ? h("span.compare-best", { title: "better than every other by more than twice their common error" }, "best") : null,
    change ? h("div.lab-note", {}, `${change > 0 ? "+" : "−"}${amount(change)}${unit === "fraction" ? " points" : ""}`) : null,
  );
}

// The results as a file, to be worked on elsewhere.
function resultsCsv(runs) {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const head = ["run_id", "name", ...RESULTS.flatMap((key) => [key, `${key}_error`])];
  const lines = runs.map((run) => [
    quoted(run.run_id),
    quoted(called(run)),
    ...RESULTS.flatMap((key) => [run.results?.[key]?.value ?? "", run.results?.[key]?.standard_error ?? ""]),
  ]);
  return [head, ...lines].map((line) => line.join(",")).join("\n");
}

function settings(runs) {
  const all = runs.map(({ config, saes }) => flat(spelledOut(config, saes)));
  const names = [...new Set(all.flatMap(Object.keys))].filter((name) => name !== "name");
  const differing = names.filter((name) => all.some((each) => !same(each[name], all[0][name])));
  const box = h("div");
  const draw = (whole) => {
    const rows = (whole ? names : differing).map((name) =>
      h(
        `tr${whole && differing.includes(name) ? ".settings-changed" : ""}`,
        {},
        h("th", { scope: "row" }, h("code", {}, name)),
        ...all.map((each) => h("td", {}, differing.includes(name) ? h("strong", {}, told(each[name])) : told(each[name]))),
      ),
    );
    box.replaceChildren(
      rows.length
        ? scrolled("The settings as a table", h("table.lab-table", {}, columns(runs), h("tbody", {}, ...rows)))
        : h("p.lab-note", {}, "These runs have the same settings."),
    );
  };
  draw(false);
  const toggle = h("input", { type: "checkbox", onchange: () => draw(toggle.checked) });
  return h(
    "div.lab-stack",
    {},
    h(
      "label.lab-note.compare-all",
      {},
      toggle,
      ` Show all ${names.length} settings, not only ${differing.length === 1 ? "the one that differs" : `the ${differing.length} that differ`}`,
    ),
    box,
  );
}
