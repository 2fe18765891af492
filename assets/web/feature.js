// One feature in full: how often and how strongly it fires in both models, where, what it writes into the prediction, and its neighbours.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";
import { examples } from "/lab/assets/examples.js";
import { histogram } from "/lab/assets/histogram.js";
import { FATES, NO_FATE, count, percent, rare, signed, value } from "/lab/assets/inspect_words.js";
import { tokenText } from "/lab/assets/token_text.js";

// on: {choose(feature), read(text)}
export function featureView(on) {
  const element = h("div.feature");
  let [asked, shown, index] = [0, null, null];

  // what: {run, release, sae_id, text, feature}
  async function show(what, token) {
    const mine = ++asked;
    index = token;
    if (what.feature === null) {
      element.replaceChildren(h("div.lab-empty", {}, h("p", {}, "Choose a feature in the list: how often it fires, where, and what it does in both models stands here.")));
      return;
    }
    if (!shown || shown.feature !== what.feature) element.replaceChildren(skeleton());
    element.setAttribute("aria-busy", "true");
    try {
      const { run, ...query } = what;
      const answer = await ask(runAddress(run, `/feature?${new URLSearchParams(query)}`));
      if (mine !== asked) return;
      shown = answer;
      draw();
    } catch (error) {
      if (mine === asked) element.replaceChildren(problem(error));
    }
    element.removeAttribute("aria-busy");
  }

  function draw() {
    const feature = shown;
    const ready = feature.activity?.ready;
    element.replaceChildren(
      ...(ready ? [numbers(feature), histogramOf(feature), examples(feature.examples, on.read)] : [pass(feature.activity)]),
      h("div.feature-pair", {}, logits(feature.logits), neighbours(feature.neighbours, on.choose)),
      neuronpedia(feature.neuronpedia) ?? "",
      about(),
    );
  }

  function histogramOf(feature) {
    const here = index === null ? [0, 0] : [feature.before?.[index] ?? 0, feature.after?.[index] ?? 0];
    const marks = Math.max(...here) > 0 ? { before: here[0], after: here[1] } : null;
    return h("section.lab-card.feature-histogram", {}, h("h3", {}, "How strongly it fires"), histogram(feature.histogram, marks));
  }

  return {
    element,
    show,
    token(i) {
      index = i;
      const old = element.querySelector(".feature-histogram");
      if (old && shown?.activity?.ready) old.replaceWith(histogramOf(shown));
    },
    // The pass over held-out text goes on.
    progress(done, total) {
      const bar = element.querySelector(".feature-pass progress");
      if (!bar) return;
      [bar.max, bar.value] = [total, done];
      element.querySelector(".feature-pass p").textContent = `Reading held-out text with both models: ${count(done)} of ${count(total)} tokens. This happens once for each SAE; the rest of the page works meanwhile.`;
    },
    problem(error) {
      element.querySelector(".feature-pass")?.replaceChildren(problem(error));
    },
    stop: () => asked++,
  };
}

function numbers({ sae, density, correlation, status, label, fired, neighbours: near }) {
  return h(
    "dl.feature-numbers",
    {},
    sae.can_change ? fate(status) : fact("Fate", "–", "It cannot change: the adapter lies only in layers above this SAE."),
    fact("Density", `${rare(density.before)} → ${rare(density.after)}`, `share of the ${count(fired.of)} held-out tokens on which it fires: ${count(fired.before)} before, ${count(fired.after)} after.`),
    fact("Correlation", value(correlation), correlation === null ? "it is silent in one of the models." : "of its activations in both models, token by token: 1 means that it says the same."),
    label ? fact("Label", label.name, labelWords(label)) : near.some((one) => one.label) ? fact("Label", "–", "no known label fits it.") : null,
  );
}

const fate = (status) => (status ? fact("Fate", h("span.features-fate", { "data-fate": status }, status), `${FATES[status]}. On this text it may differ.`) : fact("Fate", "–", NO_FATE));

const labelWords = ({ f1, precision, recall }) =>
  `best fit among what the pocket world is made of. F1 ${value(f1)}: when it fires, ${percent(precision)} of the time this is there (precision); of all places where this is there, it fires at ${percent(recall)} (recall).`;

const fact = (name, number, words) => h("div", {}, h("dt", {}, name), h("dd", {}, h("b.lab-number", {}, number), h("span.lab-note", {}, words)));

function pass(activity) {
  return h(
    "section.lab-card.feature-pass",
    { "aria-live": "polite" },
    h("h3", {}, "Density, histogram and examples are on their way"),
    h("progress", { max: 1, value: activity?.progress ?? 0, "aria-label": "Reading held-out text" }),
    h("p.lab-note", {}, "Reading held-out text with both models. This happens once for each SAE; the rest of the page works meanwhile."),
  );
}

function logits({ up, down, path }) {
  const top = Math.max(1e-9, ...[...up, ...down].map(([, effect]) => Math.abs(effect)));
  const side = (title, rows, sign) =>
    h("div.feature-logits", { "data-sign": sign }, h("h4", {}, title), h("ol", {}, ...rows.map(([token, effect]) => h("li", {}, h("span.feature-effect", { style: `--share: ${Math.abs(effect) / top}`, "aria-hidden": "true" }), h("code", { dir: "auto" }, tokenText(token)), h("span.lab-number", {}, signed(effect))))));
  return h("section.lab-card", {}, h("h3", {}, "What it writes into the prediction"), h("div.feature-logits-pair", {}, side("More likely", up, "up"), side("Less likely", down, "down")), h("p.lab-note", {}, path));
}

function neighbours(rows, choose) {
  const row = ({ feature, cosine, label }) =>
    h("li", {}, h("button.feature-neighbour", { type: "button", onclick: () => choose(feature), title: `Open feature ${feature}` }, h("b.lab-number", {}, `#${feature}`), h("span", {}, label?.name ?? ""), h("span.lab-number", {}, value(cosine))));
  return h("section.lab-card", {}, h("h3", {}, "Nearest features"), h("ol.feature-neighbours", {}, ...rows.map(row)), h("p.lab-note", {}, "By cosine of their decoder directions: 1 would be the same direction. Adaptation leaves the SAE as it is, so this holds for both models."));
}

function neuronpedia(entry) {
  if (!entry) return null;
  const frame = h("div");
  const load = h("button.lab-button", { type: "button" }, "Show it here");
  load.addEventListener("click", () => {
    frame.replaceChildren(h("iframe.feature-neuronpedia", { src: entry.embed, title: "This feature on Neuronpedia", loading: "lazy", sandbox: "allow-scripts allow-same-origin allow-popups", referrerpolicy: "no-referrer" }));
    load.remove();
  });
  return h(
    "section.lab-card.lab-stack",
    {},
    h("h3", {}, "On Neuronpedia"),
    h("p.lab-note", {}, "Its labels and examples were made with the original model: hold them against the fate above. Nothing is fetched from there before you ask."),
    h("div.lab-row", {}, h("a.lab-button", { href: entry.url, target: "_blank", rel: "noopener noreferrer" }, "Open Neuronpedia ↗"), load),
    frame,
  );
}

const about = () =>
  h(
    "details.lab-more",
    {},
    h("summary", {}, "How this is measured"),
    h(
      "div.lab-note.inspect-about",
      {},
      h("p", {}, "Density, histograms, examples and correlation come from the run's own held-out text, read once with the SAE in the stream by the original and once by the adapted model. Special tokens are left out. Examples are the tokens with the largest activations, at most one per sequence."),
      h("p", {}, "The histograms count activations above zero; silence is what density is for. Correlation is Pearson's, over all held-out tokens."),
      h("p", {}, "A label's F1 is that of the rule “it fires” against what the text's generator knows about each token; it exists only in the pocket world, where the truth is known."),
    ),
  );

const skeleton = () => h("div.inspect-skeleton", { role: "status", "aria-label": "The feature is being looked up" }, ...[90, 200, 120].map((height) => h("div", { style: `height: ${height}px` })));
