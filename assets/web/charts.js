// A grid of charts that share one view: smoothing, scale, x axis, zoom and the hovered place. The view lives in the address bar.
import { h, remember, show } from "/lab/assets/dom.js";
import { chart } from "/lab/assets/chart.js";
import { smoothed, thinned } from "/lab/assets/series.js";
import { style } from "/lab/assets/style.js";

const MOST_POINTS = 2000; // drawn per curve
const LEAST_PAUSE_MS = 200; // between two drawings of new rows

// source: {curves(spec, kind) -> [{label, colour, dash, marks, smooth, points}], axis(kind) -> label, sentence(spec), name(), zoomed(range,
// kind)}
export function charts(specs, source, tools = []) {
  style("charts");
  const view = viewOfAddress();
  const where = h("output.charts-where.lab-number", { "aria-hidden": "true" });
  const reset = h("button.lab-button", { type: "button", hidden: !view.range, onclick: () => zoom(null) }, "Whole run");
  const grid = h("div.charts-grid");
  const tableBox = h("div.charts-table", { hidden: true, tabindex: 0, role: "region", "aria-label": "The charts' numbers" });
  let [held, waiting, busy, again, started, destroyed] = [false, false, false, false, false, false];
  let last = Promise.resolve();
  const shown = specs.map((spec) => ({ spec, ...chart(spec, { zoom, point, hold }), near: false, stale: true }));
  grid.append(...shown.map(({ element }) => element));

  const element = h("div.charts", {}, toolbar(), grid, tableBox);
  document.addEventListener("lab:theme", redraw);
  const nearby = new IntersectionObserver(
    (changes) => {
      for (const { target, isIntersecting } of changes) shown.find((each) => each.element === target).near = isIntersecting;
      if (started && shown.some(({ near, stale }) => near && stale)) update();
    },
    { rootMargin: "300px" },
  );
  for (const each of shown) nearby.observe(each.element);

  function toolbar() {
    const smoothing = h("input", {
      type: "range",
      min: 0,
      max: 0.99,
      step: 0.01,
      value: view.smooth,
      oninput: ({ target }) => change({ smooth: Number(target.value) }),
    });
    const kinds = h("select", { onchange: ({ target }) => change({ x: target.value, range: null }) });
    kinds.append(...["step", "tokens", "time"].map((kind) => h("option", { value: kind, selected: kind === view.x }, kind)));
    const log = h("input", { type: "checkbox", checked: view.log, onchange: ({ target }) => change({ log: target.checked }) });
    const table = h("input", { type: "checkbox", onchange: ({ target }) => showTable(target.checked) });
    return h(
      "div.charts-tools",
      { role: "group", "aria-label": "How the charts are shown" },
      h("label", {}, "Smoothing ", smoothing),
      h("label", {}, "Along ", kinds),
      h("label", {}, log, " log scale"),
      h("label", {}, table, " show as table"),
      reset,
      where,
      h("span.charts-more", {}, ...tools),
    );
  }

  function change(part) {
    Object.assign(view, part);
    addressOf(view);
    reset.hidden = !view.range;
    redraw();
  }

  function zoom(range) {
    change({ range });
    source.zoomed?.(range, view.x);
  }

  function point(x) {
    for (const each of shown) each.point(x);
    where.textContent = x === null ? "" : `${source.axis(view.x)} ${Math.round(x).toLocaleString("en")}`;
  }

  function hold(down) {
    held = down;
    if (!down && waiting) redraw();
  }

  function curvesOf(spec) {
    return source.curves(spec, view.x).map(({ points, smooth, ...curve }) => {
      const [xs, ys] = thinned(points, MOST_POINTS);
      return smooth && view.smooth ? { ...curve, points: [xs, smoothed([xs, ys], view.smooth)], raw: ys } : { ...curve, points: [xs, ys] };
    });
  }

  function redraw() {
    started = true;
    return draw(shown);
  }

  // One drawing at a time, each of what is known when it begins: an older one never lands on top of a newer one.
  function draw(wanted) {
    const turn = last.then(() => drawNow(wanted));
    last = turn.catch(() => {});
    return turn;
  }

  async function drawNow(wanted) {
    waiting = held; // a drawing under a finger that is choosing a range would take the range away
    if (held || destroyed) return;
    const drawings = shown.map(({ spec }) => ({ spec, curves: curvesOf(spec) }));
    const ends = drawings.flatMap(({ curves }) => curves.map(({ points: [xs] }) => xs[xs.length - 1] ?? 0));
    const whole = { ...view, axis: source.axis(view.x), full: [0, Math.max(1, ...ends)], name: source.name() };
    if (!tableBox.hidden) return fillTable(drawings, whole.axis);
    for (const [i, each] of shown.entries()) {
      each.stale = !wanted.includes(each);
      if (each.stale) continue;
      await each.draw(drawings[i].curves, whole, source.sentence(each.spec));
      await new Promise((done) => setTimeout(done)); // one chart is seen while the next is drawn
    }
  }

  // New rows come as fast as the worker writes them; they are drawn as fast as this machine draws, and not at all where nobody looks: a
  // chart that is out of sight is stale until somebody scrolls there.
  async function update() {
    again = true;
    if (busy) return;
    busy = true;
    while (again && !destroyed && !document.hidden) {
      again = false;
      const started = performance.now();
      await draw(shown.filter(({ near }) => near));
      const cost = performance.now() - started;
      await new Promise((rested) => setTimeout(rested, Math.min(700, Math.max(LEAST_PAUSE_MS, 2 * cost))));
    }
    busy = false;
  }
  const seen = () => !document.hidden && again && update();
  document.addEventListener("visibilitychange", seen);

  function showTable(on) {
    [tableBox.hidden, grid.hidden] = [!on, on];
    redraw();
  }

  function fillTable(drawings, axis) {
    const columns = drawings.flatMap(({ spec, curves }) =>
      curves.map((curve) => ({ spec, ...curve, at: new Map(curve.points[0].map((x, i) => [x, i])) })),
    );
    const densest = columns.reduce((most, { points: [xs] }) => (xs.length > most.length ? xs : most), []);
    const rows = [
      ...new Set([...thinned([densest, densest], 60)[0], ...columns.filter(({ marks }) => marks).flatMap(({ points: [xs] }) => xs)]),
    ].sort((a, b) => a - b);
    const value = ({ at, raw, points: [, ys], spec }, x) => (at.has(x) ? show((raw ?? ys)[at.get(x)], spec.unit) : "");
    tableBox.replaceChildren(
      h(
        "table.lab-table",
        {},
        h("caption.lab-visually-hidden", {}, "The charts' numbers, one row per place along the x axis"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, axis),
            ...columns.map(({ spec, label }) => h("th", { scope: "col" }, `${spec.title}, ${label}`)),
          ),
        ),
        h(
          "tbody",
          {},
          ...rows.map((x) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, Math.round(x).toLocaleString("en")),
              ...columns.map((column) => h("td", {}, value(column, x))),
            ),
          ),
        ),
      ),
    );
  }

  return {
    element,
    redraw,
    update,
    view,
    destroy() {
      destroyed = true;
      document.removeEventListener("visibilitychange", seen);
      document.removeEventListener("lab:theme", redraw);
      nearby.disconnect();
      for (const each of shown) each.destroy();
    },
  };
}

function viewOfAddress() {
  const asked = new URL(location.href).searchParams;
  const x = ["step", "tokens", "time"].find((kind) => kind === asked.get("x")) ?? "step";
  const range = (asked.get("range") ?? "").split("~").map(Number);
  const smooth = Number(asked.get("smooth") ?? 0.8);
  const whole = range.length === 2 && range.every(Number.isFinite) && range[0] < range[1];
  return { smooth: smooth >= 0 && smooth < 1 ? smooth : 0.8, log: asked.get("log") === "1", x, range: whole ? range : null };
}

function addressOf({ smooth, log, x, range }) {
  const round = (value) => Number(value.toPrecision(6));
  remember({
    smooth: smooth === 0.8 ? null : smooth,
    log: log ? 1 : null,
    x: x === "step" ? null : x,
    range: range && range.map(round).join("~"),
  });
}
