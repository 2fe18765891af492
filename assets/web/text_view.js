// The text under both conditions: the chosen feature's bar, the three panes with their legend and switches, and the card of one token.
import { h } from "/lab/assets/dom.js";
import { featureBar } from "/lab/assets/feature_bar.js";
import { heatmap } from "/lab/assets/heatmap.js";
import { exports } from "/lab/assets/inspect_export.js";
import { value } from "/lab/assets/inspect_words.js";
import { tokencard } from "/lab/assets/tokencard.js";

// on: {token(index, how), step(by), clear(), counted(specials)}; how: "pointer" | "keys" | "jump"
export function textView(on) {
  const bar = featureBar({ step: on.step, clear: on.clear });
  const own = h("input", { type: "checkbox", onchange: paint });
  const specials = h("input", { type: "checkbox", onchange: () => (paint(), on.counted(specials.checked)) });
  const legend = h("div.heat-legend");
  const place = h("div");
  const card = tokencard({ move: (by) => go(Math.min(Math.max(0, (index ?? -1) + by), comparison.tokens.length - 1)) });
  const saves = exports(() => ({ comparison, feature, painted }));
  const element = h(
    "div.textview",
    {},
    bar.element,
    place,
    h(
      "div.textview-below",
      {},
      legend,
      h("div.textview-switches", {}, h("label", { title: "Each pane's tint is full at its own largest value; numbers stay the same" }, own, "Own scale for each pane"), h("label", { title: "BOS and the like pass by the SAE and are not scored; they are ignored unless you ask" }, specials, "Count special tokens"), saves),
    ),
    card.element,
  );
  let [comparison, feature, index, hovered, map, painted] = [null, null, null, null, null, null];

  function paint() {
    if (!map) return;
    const kind = feature ? "feature" : "kl";
    const { tokens } = comparison;
    const what = {
      kind,
      name: feature ? "activation" : "KL",
      before: feature ? feature.before : tokens.map(({ kl_before }) => kl_before),
      after: feature ? feature.after : tokens.map(({ kl_after }) => kl_after),
      own: own.checked,
      specials: specials.checked,
    };
    painted = { ...what, largest: map.paint(what) };
    legend.replaceChildren(...legendOf(kind, painted));
  }

  const showCard = () => card.show(comparison.tokens, hovered ?? index, feature);

  function go(to, focus = false) {
    on.token(to, "jump");
    card.follow();
    map.choose(to, { focus });
    map.reveal(to);
  }

  return {
    element,
    show(answer) {
      comparison = answer;
      [feature, index, hovered] = [null, null, null];
      map = heatmap(answer.tokens, {
        select(to, how) {
          hovered = null;
          card.follow();
          on.token(to, how);
          map.reveal(to);
        },
        hover(to) {
          hovered = to;
          map.hover(to);
          showCard();
        },
      });
      place.replaceChildren(map.element);
      this.feature(null, null);
      this.token(null);
    },
    feature(chosen, pin) {
      feature = chosen;
      bar.show(chosen, comparison.tokens, pin, { labelled: comparison.features.some(({ label }) => label), changes: comparison.sae.can_change });
      paint();
      showCard();
    },
    token(to) {
      index = to;
      map.choose(to);
      showCard();
    },
    jump: (to) => go(to, true),
    get specials() {
      return specials.checked;
    },
  };
}

function legendOf(kind, { largest, own }) {
  const ramp = (tone) => h("i.heat-ramp", { style: `--tone: ${tone}`, "aria-hidden": "true" });
  const top = own ? "each pane's largest" : value(Math.max(largest.before, largest.after));
  const rule = (more = "") => h(`span.heat-rule${more}`, { "aria-hidden": "true" }, h("i"), h("i"), h("i"));
  return [
    h("span", {}, ramp(kind === "feature" ? "rgb(var(--lab-heat))" : "var(--lab-harm)"), kind === "feature" ? `activation, 0 to ${top}` : `KL to the original, 0 to ${top}`),
    h("span", {}, h("i.heat-ramp.heat-diverging", { "aria-hidden": "true" }), "down, up"),
    h("span", {}, rule(), "KL of the prediction made there"),
    h("span", {}, rule(".healed"), "healed"),
  ];
}
