// How strongly a feature fires on held-out text, both models overlaid, with the chosen token's values marked; and the same as a table.
import { h, svg } from "/lab/assets/dom.js";
import { count, value } from "/lab/assets/inspect_words.js";

const [HEIGHT, LEFT, BOTTOM, TOP] = [210, 44, 26, 30];

// data: {edges: [n + 1], before: [n], after: [n]}; marks: {before, after} of the chosen token, or null
export function histogram({ edges, before, after }, marks) {
  const width = innerWidth < 640 ? 360 : 860; // drawn for its size, so that letters stay readable on a phone
  const most = Math.max(1, ...before, ...after);
  const reach = Math.max(edges[edges.length - 1], ...(marks ? [marks.before, marks.after] : []));
  const x = (activation) => LEFT + ((activation - edges[0]) / (reach - edges[0] || 1)) * (width - LEFT - 12);
  const y = (n) => HEIGHT - BOTTOM - (n / most) * (HEIGHT - BOTTOM - TOP);
  const outline = (counts) => `M${x(edges[0])} ${y(0)}` + counts.map((n, i) => `V${y(n).toFixed(1)}H${x(edges[i + 1]).toFixed(1)}`).join("") + `V${y(0)}`;
  const shape = (counts, name) => svg(`path.histogram-${name}`, { d: outline(counts) });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => edges[0] + share * (reach - edges[0]));

  const picture = svg(
    "svg",
    { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `Activations above zero on held-out text: ${total(before)} tokens before, ${total(after)} after. The table below holds the numbers.` },
    ...[0, most].map((n) => svg("text.histogram-tick", { x: LEFT - 6, y: y(n) + 4, "text-anchor": "end" }, count(n))),
    svg("line.histogram-axis", { x1: LEFT, x2: width - 12, y1: y(0), y2: y(0) }),
    shape(before, "before"),
    shape(after, "after"),
    ...ticks.map((at) => svg("text.histogram-tick", { x: x(at), y: HEIGHT - 8, "text-anchor": "middle" }, value(at, reach < 3 ? 1 : 0))),
    ...(marks ? [mark(marks.before, "before", x), mark(marks.after, "after", x)] : []),
  );
  return h(
    "figure.histogram",
    {},
    h("figcaption.histogram-key", {}, key("before", "Original + SAE", marks?.before), key("after", "Adapted + SAE", marks?.after)),
    picture,
    h("p.lab-note", {}, `Across: activation; up: number of held-out tokens.${marks ? " The vertical lines are the chosen token." : " At the chosen token the feature is silent; choose another to see where it lies."}`),
    h("details.lab-more", {}, h("summary", {}, "As a table"), h("div.histogram-table", { tabindex: 0, role: "region", "aria-label": "Histogram as a table" }, table(edges, before, after))),
  );
}

const total = (counts) => count(counts.reduce((sum, n) => sum + n, 0));
const key = (name, words, at) => h("span", {}, h(`i.histogram-swatch.${name}`, { "aria-hidden": "true" }), words, at === undefined ? null : h("b.lab-number", {}, value(at)));

const mark = (at, name, x) =>
  svg(`g.histogram-mark.${name}`, {}, svg("line", { x1: x(at), x2: x(at), y1: name === "before" ? 12 : 6, y2: HEIGHT - BOTTOM }), svg("circle", { cx: x(at), cy: name === "before" ? 12 : 6, r: 4 }));

function table(edges, before, after) {
  const rows = before.map((n, i) => h("tr", {}, h("th", { scope: "row" }, `${value(edges[i])} to ${value(edges[i + 1])}`), h("td", {}, count(n)), h("td", {}, count(after[i]))));
  return h("table.lab-table", {}, h("thead", {}, h("tr", {}, ...["Activation", "Tokens before", "Tokens after"].map((words) => h("th", { scope: "col" }, words)))), h("tbody", {}, ...rows));
}
