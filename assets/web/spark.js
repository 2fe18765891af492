// A sparkline: a curve the size of a word, with what it shows in words.
import { show, svg } from "/lab/assets/dom.js";
import { smoothed } from "/lab/assets/series.js";

// values: numbers in order; label: what they are; at: index to mark, the last one where nothing is said.
export function spark(values, label, { unit = "nats/token", width = 160, height = 36, at = values.length - 1, smooth = 0.6 } = {}) {
  if (values.length < 2)
    return svg("svg.spark", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${label}: no curve yet` });
  const ys = smoothed([values.map((_, i) => i), values], smooth);
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const x = (i) => 3 + (i / (ys.length - 1)) * (width - 6);
  const y = (value) => height - 4 - ((value - low) / (high - low || 1)) * (height - 8);
  const path = ys.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return svg(
    "svg.spark",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": `${label}: from ${show(values[0], unit)} to ${show(values[values.length - 1], unit)}`,
    },
    svg("path", { d: path, fill: "none", stroke: "var(--lab-adapted)", "stroke-width": 1.8, "stroke-linejoin": "round" }),
    svg("circle", { cx: x(at), cy: y(ys[at]), r: 3, fill: "var(--lab-adapted)" }),
  );
}
