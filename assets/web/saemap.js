// The SAEs of one layer: a row for each width, L0 to the right. A press or the arrow keys choose.
import { h, svg } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";
import { wish } from "/lab/assets/wish.js";

const ROW = 30;
let focused = false; // a choice redraws the map: the keyboard stays in it

export async function mount(element, { layer, points, chosen, n_unplaced }) {
  await style("adapt");
  if (!points.length) {
    if (n_unplaced) element.append(h("p.lab-note", {}, "The SAEs of this layer do not state width and L0, so there is no map of them. Choose by name above."));
    return;
  }
  let drawn = 0;
  const draw = () => {
    drawn = element.clientWidth || 480;
    element.replaceChildren(figure(drawn - 26, layer, distinct(points, chosen), chosen, n_unplaced)); // less its frame
    if (focused && document.activeElement === document.body) element.querySelector('[tabindex="0"]')?.focus();
  };
  draw();
  element.addEventListener("focusin", () => (focused = true));
  element.addEventListener("focusout", () => setTimeout(() => (focused = !element.isConnected || element.contains(document.activeElement))));
  const watcher = new ResizeObserver(() => Math.abs(element.clientWidth - drawn) > 2 && draw());
  watcher.observe(element);
  return () => watcher.disconnect();
}

// Published twice at the same spot (a "canonical" one and its twin): one mark, the chosen one if either is.
function distinct(points, chosen) {
  const spots = new Map();
  for (const point of points) {
    const spot = `${point.site} ${point.d_sae} ${point.l0}`;
    if (!spots.has(spot) || chosen.includes(point.name)) spots.set(spot, point);
  }
  return [...spots.values()];
}

function figure(width, layer, points, chosen, n_unplaced) {
  const sites = new Set(points.map((point) => point.site));
  const key = (point) => `${point.site}|${point.d_sae}`;
  const rows = [...new Map(points.map((point) => [key(point), point])).values()].sort((a, b) => a.site.localeCompare(b.site) || b.d_sae - a.d_sae);
  const left = sites.size > 1 ? Math.min(190, width * 0.42) : 92;
  const low = Math.log(Math.min(...points.map((point) => point.l0)));
  const high = Math.log(Math.max(...points.map((point) => point.l0)));
  const x = (l0) => left + 18 + ((width - left - 46) * (Math.log(l0) - low)) / (high - low || 1);
  const y = (point) => 20 + ROW * rows.findIndex((row) => key(row) === key(point));
  const height = 20 + ROW * rows.length + 4;
  const marks = points
    .sort((a, b) => y(a) - y(b) || a.l0 - b.l0)
    .map((point) => mark(point, x(point.l0), y(point), chosen.includes(point.name)));
  const focusable = marks.find((each) => each.getAttribute("aria-checked") === "true") || marks[0];
  marks.forEach((each) => each.setAttribute("tabindex", each === focusable ? "0" : "-1"));
  const picture = svg(
    "svg.saemap",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "radiogroup", "aria-label": `SAEs of layer ${layer} by width and L0`, onkeydown: (event) => move(event, marks) },
    rows.map((row) => [
      svg("line.saemap-line", { x1: left, x2: width - 8, y1: y(row), y2: y(row) }),
      svg("text.saemap-row", { x: left - 10, y: y(row) + 4, "text-anchor": "end" }, sites.size > 1 ? `${row.site}, ${short(row.d_sae)}` : `${short(row.d_sae)} features`),
    ]),
    ticks(points, x).map((l0) => svg("text.saemap-tick", { x: x(l0), y: height - 4, "text-anchor": "middle" }, Math.round(l0))),
    svg("text.saemap-tick", { x: left - 10, y: height - 4, "text-anchor": "end" }, "L0"),
    marks,
  );
  const note = "L0: features active per token. Fewer are easier to read, and cost the model more.";
  const unplaced = n_unplaced ? ` ${n_unplaced} more do not state width or L0: choose them by name.` : "";
  return h("figure.saemap-figure", {}, picture, h("figcaption.lab-note", {}, note + unplaced));
}

function mark(point, cx, cy, isChosen) {
  const fve = point.fve ? `, variance explained ${(100 * point.fve).toFixed(0)} %` : "";
  const words = `${point.d_sae.toLocaleString("en")} features, L0 ${Number(point.l0.toPrecision(3))}, ${point.site}${fve}`;
  return svg(
    "g.saemap-mark",
    { role: "radio", "aria-checked": String(isChosen), "aria-label": words, "data-name": point.name, transform: `translate(${cx} ${cy})`, onclick: () => pick(point.name) },
    svg("title", {}, `${words} (${point.name})`),
    svg("circle.saemap-reach", { r: 14 }),
    svg("circle.saemap-dot", { r: isChosen ? 8 : 6 }),
  );
}

const pick = (name) => wish({ pick: name });

function move(event, marks) {
  const now = marks.indexOf(document.activeElement);
  if (now < 0) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    pick(marks[now].dataset.name);
    return;
  }
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = marks[(now + step + marks.length) % marks.length];
  marks.forEach((each) => each.setAttribute("tabindex", each === next ? "0" : "-1"));
  next.focus();
}

// A few L0 values with room between them.
function ticks(points, x) {
  const kept = [];
  for (const l0 of [...new Set(points.map((point) => point.l0))].sort((a, b) => a - b)) if (!kept.length || x(l0) - x(kept.at(-1)) > 34) kept.push(l0);
  return kept;
}

const short = (n) => (n >= 2 ** 20 ? `${Math.round(n / 2 ** 20)}M` : n >= 1024 ? `${Math.round(n / 1024)}k` : String(n));
