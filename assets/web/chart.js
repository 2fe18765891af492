// One chart: a figure with a readable legend, a Plotly plot that is updated in place, and a sentence below. charts.js puts several in a
// grid.
import { colour, h, show, svg } from "/lab/assets/dom.js";
import { nearest } from "/lab/assets/series.js";

const DASHES = { solid: "", dash: "6 4", dot: "1.5 3.5", dashdot: "7 3 1.5 3", longdash: "11 4", longdashdot: "11 3 1.5 3" };
const PLOTLY = "/lab/assets/vendor/plotly-basic.min.js";
const touch = () => matchMedia("(pointer: coarse)").matches;

// plotly.js, fetched once, by pages that draw charts. The reference is taken at once: Gradio has a Plotly of its own.
let plotly;
export const loadPlotly = () =>
  (plotly ??= new Promise((loaded, failed) => {
    const script = document.createElement("script");
    script.src = PLOTLY;
    script.onload = () => loaded(window.Plotly);
    script.onerror = () => {
      plotly = undefined;
      failed(new Error("The charts could not be loaded. Reload the page."));
    };
    document.head.append(script);
  }));

// spec: {key, title, unit, fromZero}. on: {zoom(range | null), point(x | null), hold(bool)}; x always in units of the x axis.
export function chart(spec, on) {
  const legend = h("ul.chart-legend");
  const plot = h("div.chart-plot", {
    role: "slider",
    tabindex: 0,
    "aria-valuemin": 0,
    "aria-valuemax": 0,
    "aria-valuenow": 0,
    "aria-valuetext": "nothing measured yet",
    "aria-label": `${spec.title}: move along the curve with the arrow keys`,
  });
  const cursor = h("div.chart-cursor", { hidden: true });
  const sentence = h("p.lab-note");
  const picture = h(
    "button.chart-tool",
    { type: "button", title: "Save this chart as a PNG picture", "aria-label": `Save the chart ${spec.title} as PNG` },
    "PNG",
  );
  const element = h(
    "figure.chart",
    { "data-chart": spec.key },
    h("figcaption.chart-head", {}, h("h3", {}, spec.title), h("span.lab-note", {}, spec.unit === "fraction" ? "" : spec.unit), picture),
    legend,
    h("div.chart-field", {}, plot, cursor),
    sentence,
    spec.more ?? null,
  );
  let [curves, view, drawn, at, Plotly] = [[], null, false, null, null];

  async function draw(newCurves, newView, words) {
    [curves, view] = [newCurves, newView];
    sentence.textContent = words;
    showValues();
    Plotly ??= await loadPlotly();
    if (!element.isConnected) return;
    await Plotly.react(plot, tracesOf(curves), layoutOf(spec, curves, view), {
      displayModeBar: false,
      doubleClick: false,
      scrollZoom: false,
    });
    if (!drawn) listen();
    drawn = true;
    point(at);
  }

  function listen() {
    plot.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change) on.zoom([change["xaxis.range[0]"], change["xaxis.range[1]"]].map(Number));
    });
    plot.on("plotly_doubleclick", () => on.zoom(null));
    resized.observe(plot);
  }

  // The hovered place, in every chart of the grid at once: a line here, values in the legend.
  function point(x) {
    at = x;
    const axis = drawn && plot._fullLayout?.xaxis;
    const inside = axis && x !== null && x >= axis.range[0] && x <= axis.range[1];
    cursor.hidden = !inside;
    if (inside) {
      const { t, h: height } = plot._fullLayout._size;
      Object.assign(cursor.style, { left: `${axis._offset + axis.l2p(x)}px`, top: `${t}px`, height: `${height}px` });
    }
    showValues();
  }

  // At rest the number of a curve is its final one, where it has one beside the curve.
  function valueAt({ points: [xs, ys], resting = null }) {
    if (at === null && resting !== null) return resting;
    const index = at === null ? xs.length - 1 : nearest(xs, at);
    return index < 0 ? null : ys[index];
  }

  const listed = () => curves.filter(({ unlisted }) => !unlisted);

  function showValues() {
    legend.replaceChildren(
      ...listed().map((curve) =>
        h("li", {}, swatch(curve), h("span", {}, curve.label), h("b.lab-number", {}, show(valueAt(curve), spec.unit).replace(/^-/, "−"))),
      ),
    );
    plot.setAttribute("aria-valuemin", view?.full[0] ?? 0);
    const [last, here] = [view?.full[1] ?? 0, Math.round(at ?? view?.full[1] ?? 0)];
    plot.setAttribute("aria-valuemax", last);
    plot.setAttribute("aria-valuenow", Number.isFinite(here) ? here : 0);
    const read = listed().map((curve) => `${curve.label} ${show(valueAt(curve), spec.unit)}`).join(", ");
    plot.setAttribute(
      "aria-valuetext",
      curves.length ? `${at === null ? "latest" : `${view.axis} ${Math.round(at)}`}: ${read}` : "nothing measured yet",
    );
  }

  const placeOf = (event) => {
    const axis = drawn && plot._fullLayout?.xaxis;
    return axis ? axis.p2l(event.clientX - plot.getBoundingClientRect().left - axis._offset) : null;
  };
  plot.addEventListener("pointermove", (event) => on.point(placeOf(event)));
  plot.addEventListener("pointerdown", (event) => {
    on.hold(true);
    on.point(placeOf(event));
    addEventListener("pointerup", () => on.hold(false), { once: true });
    addEventListener("pointercancel", () => on.hold(false), { once: true });
  });
  plot.addEventListener("pointerleave", () => on.point(null));
  plot.addEventListener("blur", () => on.point(null));
  plot.addEventListener("keydown", (event) => {
    const stops = curves.reduce((most, { points: [xs] }) => (xs.length > most.length ? xs : most), []);
    const here = at === null ? stops.length - 1 : nearest(stops, at);
    const moves = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - 10, PageDown: here + 10, Home: 0, End: stops.length - 1 };
    if (!(event.key in moves) || !stops.length) return event.key === "Escape" ? on.zoom(null) : undefined;
    event.preventDefault();
    on.point(stops[Math.min(Math.max(0, moves[event.key]), stops.length - 1)]);
  });
  picture.addEventListener("click", async () => {
    const layout = layoutOf(spec, curves, view);
    const titled = { ...layout, title: { text: spec.title }, showlegend: true, margin: { l: 64, r: 24, t: 48, b: 48 } };
    const figure = { data: tracesOf(curves), layout: titled };
    (await loadPlotly()).downloadImage(figure, {
      format: "png",
      width: 960,
      height: 540,
      scale: 2,
      filename: `${view.name || "run"}-${spec.key}`,
    });
  });
  const resized = new ResizeObserver(() => drawn && plot.isConnected && Plotly.Plots.resize(plot).then(() => point(at)));

  return {
    element,
    draw,
    point,
    destroy() {
      resized.disconnect();
      if (drawn) Plotly.purge(plot);
    },
  };
}

const swatch = ({ colour: name, dash, marks }) =>
  svg(
    "svg",
    { viewBox: "0 0 22 10", width: 22, height: 10, "aria-hidden": "true" },
    marks === "diamond"
      ? svg("path", { d: "M11 0.5l4.5 4.5-4.5 4.5-4.5-4.5z", fill: `var(--lab-${name})` })
      : svg("line", {
          x1: 1,
          x2: 21,
          y1: 5,
          y2: 5,
          stroke: `var(--lab-${name})`,
          "stroke-width": 2.2,
          "stroke-dasharray": DASHES[dash ?? "solid"],
        }),
    marks === true ? svg("circle", { cx: 11, cy: 5, r: 3.4, fill: `var(--lab-${name})` }) : null,
  );

function tracesOf(curves) {
  const quiet = { type: "scatter", hoverinfo: "skip", showlegend: false };
  return curves.flatMap(({ label, colour: name, dash, marks, unlisted, points: [x, y], raw }) => [
    ...(raw ? [{ ...quiet, x, y: raw, mode: "lines", line: { color: colour(name), width: 1 }, opacity: 0.28 }] : []),
    {
      ...quiet,
      showlegend: !unlisted,
      name: label,
      x,
      y,
      mode: marks ? "lines+markers" : "lines",
      cliponaxis: !marks,
      line: { color: colour(name), width: 2, dash: dash ?? "solid" },
      marker: {
        color: colour(name),
        symbol: marks === "diamond" ? "diamond" : "circle",
        size: marks === "diamond" ? 11 : 7,
        line: { color: colour("surface"), width: 1.5 },
      },
    },
  ]);
}

function layoutOf(spec, curves, view) {
  const [ink, line, surface] = ["muted", "line", "surface"].map(colour);
  const range = view.range ?? view.full;
  const seen = heights(spec, curves, range, view.log);
  const bare = seen ? {} : { showticklabels: false, ticks: "", showgrid: false }; // no ticks of a scale that nothing is measured on
  const plain = { gridcolor: line, linecolor: line, zeroline: false, tickfont: { size: 11 }, automargin: false };
  return {
    paper_bgcolor: surface,
    plot_bgcolor: surface,
    font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
    margin: { l: 52, r: 12, t: 8, b: 38 },
    dragmode: touch() ? false : "zoom",
    hovermode: false,
    showlegend: false,
    uirevision: "kept",
    xaxis: { ...plain, range: [...range], showgrid: false, nticks: 6, title: { text: view.axis, standoff: 6, font: { size: 11 } }, ...bare },
    yaxis: {
      ...plain,
      type: view.log ? "log" : "linear",
      range: seen ?? (view.log ? [-2, 0] : [0, 1]),
      fixedrange: true,
      nticks: 5,
      tickformat: { fraction: ".0%", bytes: ".3s", "tokens/s": ",.0f", "nats/token": "~g", "": "~e" }[spec.unit],
      ...bare,
    },
  };
}

// The y axis shows what the x range shows, the raw line's spikes included.
function heights(spec, curves, [from, to], log) {
  let [low, high] = [Infinity, -Infinity];
  for (const {
    points: [xs, ys],
    raw,
  } of curves) {
    for (const values of raw ? [ys, raw] : [ys]) {
      for (let i = 0; i < xs.length; i++) {
        if (xs[i] < from || xs[i] > to || (log && values[i] <= 0)) continue;
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
    }
  }
  if (!Number.isFinite(low)) return null;
  if (log) return [Math.log10(low) - 0.08, Math.log10(high) + 0.08];
  if (spec.fromZero) low = Math.min(0, low);
  if (spec.toOne) high = Math.max(1, high);
  const space = 0.06 * (high - low || Math.abs(high) || 1);
  return [low === 0 ? 0 : low - space, high + space];
}
