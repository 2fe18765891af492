// What is on the page, to take away: the tokens as CSV, everything as JSON, the three panes as an SVG picture.
import { colour, h, svg } from "/lab/assets/dom.js";
import { isAside, opacity } from "/lab/assets/inspect_words.js";
import { breaksAfter, tokenText } from "/lab/assets/token_text.js";

// now() -> {comparison, feature, painted: {before, after, own, specials, kind}}
export function exports(now) {
  const button = (words, title, act) => h("button.lab-button.quiet.inspect-export", { type: "button", title, onclick: act }, words);
  return h(
    "div.inspect-exports",
    { role: "group", "aria-label": "Save" },
    button("CSV", "The tokens with their numbers, one a row", () => save(csv(now()), "text/csv", `${nameOf(now())}.csv`)),
    button("JSON", "Everything that this view shows", () => save(JSON.stringify(now().comparison, null, 1), "application/json", `${nameOf(now())}.json`)),
    button("SVG", "The three panes as a picture", () => save(picture(now()), "image/svg+xml", `${nameOf(now())}.svg`)),
  );
}

function save(content, type, name) {
  const url = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  const link = h("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const nameOf = ({ comparison, feature }) => `inspect-${comparison.run_id}-${feature ? `feature-${feature.feature}` : "kl"}`;

// Tokens are written as JSON strings: spaces can be seen, and no spreadsheet takes one for a formula.
function csv({ comparison, feature }) {
  const plain = ["id", "scored", "bypassed", "kl_before", "kl_after", "ce_original", "ce_before", "ce_after"];
  const head = ["position", "token", ...plain, ...(feature ? [`feature_${feature.feature}_before`, `feature_${feature.feature}_after`] : [])];
  const rows = comparison.tokens.map((token, i) => [i, JSON.stringify(token.text), ...plain.map((key) => token[key]), ...(feature ? [feature.before[i], feature.after[i]] : [])]);
  const cell = (content) => (content === null || content === undefined ? "" : /[",\n]/.test(String(content)) ? `"${String(content).replaceAll('"', '""')}"` : String(content));
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
}

const [SIZE, LINE, COLUMNS, GAP, MARGIN] = [13, 27, 38, 26, 20];

// The same tints and underlines, laid out in lines of a fixed number of letters.
function picture({ comparison, feature, painted }) {
  const { tokens } = comparison;
  const advance = SIZE * 0.602;
  const width = COLUMNS * advance;
  const counted = tokens.map((token) => painted.specials || !isAside(token));
  const change = painted.before.map((before, i) => painted.after[i] - before);
  const tone = feature ? `rgb(${colour("heat").split(" ").join(",")})` : colour("harm");
  const worst = Math.max(1e-6, ...tokens.map(({ kl_before, kl_after }, i) => (counted[i] ? Math.max(kl_before, kl_after) : 0)));
  const panes = [
    ["Original + SAE", painted.before, painted.largest.before, ({ kl_before }) => kl_before],
    ["Adapted + SAE", painted.after, painted.largest.after, ({ kl_after }) => kl_after],
    ["Change", change, painted.largest.change, ({ kl_before, kl_after }) => kl_after - kl_before],
  ];
  const places = laidOut(tokens);
  const height = MARGIN * 2 + 70 + (places.at(-1).line + 1) * LINE;
  const parts = panes.flatMap(([title, values, largest, klOf], pane) => {
    const left = MARGIN + pane * (width + GAP);
    const drawn = tokens.flatMap((token, i) => {
      const x = left + places[i].column * advance;
      const y = MARGIN + 62 + places[i].line * LINE;
      const w = [...tokenText(token.text)].length * advance - 1;
      const kl = klOf(token);
      const thick = counted[i] ? 6 * Math.sqrt(Math.min(1, Math.abs(kl) / worst)) : 0;
      const fill = pane < 2 ? tone : colour(values[i] < 0 ? "down" : "up");
      return [
        svg("rect", { x, y: y - SIZE - 2, width: w, height: SIZE + 6, rx: 2, fill, "fill-opacity": counted[i] ? (0.66 * opacity(Math.abs(values[i]), largest)).toFixed(3) : 0 }),
        thick < 0.6 ? null : svg("rect", { x, y: y + 5, width: w, height: thick.toFixed(1), fill: pane === 2 && kl < 0 ? colour("adapted") : colour("harm") }),
        svg("text", { x, y, fill: colour(counted[i] ? "ink" : "muted"), "xml:space": "preserve", textLength: w + 1 }, tokenText(token.text)),
      ];
    });
    return [svg("text", { x: left, y: MARGIN + 36, fill: colour("ink"), "font-weight": 700 }, title), ...drawn];
  });
  const heading = `${feature ? `Feature ${feature.feature}` : "KL to the original"}, ${comparison.sae.release} ${comparison.sae.sae_id}, run ${comparison.run_id}. Underline: KL to the original.`;
  const all = svg(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", width: MARGIN * 2 + 3 * width + 2 * GAP, height, "font-family": "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace", "font-size": SIZE },
    svg("rect", { width: "100%", height: "100%", fill: colour("surface") }),
    svg("text", { x: MARGIN, y: MARGIN + 8, fill: colour("muted"), "font-size": 12 }, heading),
    ...parts,
  );
  return new XMLSerializer().serializeToString(all);
}

function laidOut(tokens) {
  let [line, column] = [0, 0];
  return tokens.map((token) => {
    const length = [...tokenText(token.text)].length;
    if (column && column + length > COLUMNS) [line, column] = [line + 1, 0];
    const place = { line, column };
    column += length;
    if (breaksAfter(token.text)) [line, column] = [line + breaksAfter(token.text), 0];
    return place;
  });
}
