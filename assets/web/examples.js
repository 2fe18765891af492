// Where a feature fires most on held-out text, for both models side by side, with what they share.
import { h } from "/lab/assets/dom.js";
import { opacity, value } from "/lab/assets/inspect_words.js";
import { breaksAfter, tokenText } from "/lab/assets/token_text.js";

// examples: {before: [{tokens, passage, acts, peak, where}], after: [..], shared, of}; read(text) puts an example into the text field
export function examples({ before, after, shared, of }, read) {
  const largest = Math.max(1e-9, ...[...before, ...after].map(({ acts, peak }) => acts[peak]));
  const places = [new Set(before.map(placed)), new Set(after.map(placed))];
  return h(
    "section.examples",
    {},
    h("h3", {}, "Where it fires most"),
    h("p.lab-note", {}, sentence(shared, of)),
    h("div.examples-columns", {}, column("Original + SAE", "before", before, places[1]), column("Adapted + SAE", "after", after, places[0])),
  );

  function column(title, side, rows, others) {
    const shown = rows.map((row) => h("li", {}, example(row, others.has(placed(row)))));
    return h("div.examples-column", { "data-side": side }, h("h4", {}, title), shown.length ? h("ol", {}, ...shown) : h("p.lab-note", {}, "It fires on no held-out token."));
  }

  function example(row, both) {
    const text = h("div.heat-snippet", { dir: "auto" });
    row.tokens.forEach((token, i) => {
      const tint = opacity(row.acts[i], largest).toFixed(3);
      text.append(/^ \S/.test(token) ? " " : "", h(`span.heat-token${i === row.peak ? ".peak" : ""}`, { style: `--a: ${tint}`, title: `${tokenText(token).trim()}: ${value(row.acts[i])}` }, tokenText(token).replace(/^ (?=\S)/, "")), breaksAfter(token) ? " " : "");
    });
    return h(
      "div.examples-row",
      {},
      h("div.examples-head", {}, h("b.lab-number", { title: row.where }, value(row.acts[row.peak])), both ? h("span.examples-both", {}, "in both") : null, h("button.examples-read", { type: "button", title: "Look inside this text", onclick: () => read(row.passage) }, "Look inside")),
      text,
    );
  }
}

const placed = ({ where, peak, tokens }) => JSON.stringify([where, peak, tokens]);

function sentence(shared, of) {
  if (!of) return "There is no example to compare.";
  const words = shared === of ? "it fires most where it fired" : shared >= of / 2 ? "mostly where it fired" : "other places than before: a label made for the original model may no longer hold";
  return `${shared} of ${of} are shared by both models: ${words}.`;
}
