// The picture that tells what the lab does: the model alone, with its dictionary, repaired; and the gap between the first two, drawn from a run's
// own numbers.
import { h, show, svg } from "/lab/assets/dom.js";
import { term } from "/lab/assets/glossary.js";

const LAYERS = 6; // as many as the pocket model has, its SAE behind the third
const SAE_BEHIND = 3;
const three = (value) => value.toFixed(3);

// -> {element, fill(run | null)}
export function story() {
  const scenes = [
    scene("alone", "The model alone", [0.2, 1, 0.28, 0.12]),
    scene("sae", "With its dictionary", [0.55, 0.62, 0.42, 0.3]),
    scene("repaired", "Repaired around it", [0.32, 0.88, 0.3, 0.17]),
  ];
  const bar = h("div.story-gap");
  const source = h("p.lab-note.story-source");
  const element = h("figure.home-story.lab-card", { "aria-label": "What the lab does, in three pictures" }, h("div.story-scenes", {}, ...scenes.map((each) => each.element)), bar, source);

  function fill(run) {
    const of = (metric) => run?.results?.[metric]?.value;
    if (of("ce_original") === undefined || of("ce_adapted_sae") === undefined) {
      scenes[0].say("What goes on inside cannot be read.");
      scenes[1].say("Readable inside, but it guesses worse.");
      scenes[2].say("Part of the loss is won back.");
      return;
    }
    scenes[0].say("of surprise at each next token", three(of("ce_original")));
    scenes[1].say("readable inside, but it guesses worse", three(of("ce_original_sae")));
    scenes[2].say("the dictionary stays, part of the loss is gone", three(of("ce_adapted_sae")));
    bar.replaceChildren(...gap(of("ce_original"), of("ce_original_sae"), of("ce_adapted_sae"), of("gap_closed")));
    source.replaceChildren(
      "Measured on ",
      show(run.heldout.n_tokens, "tokens"),
      " ",
      term("heldout", "held-out"),
      " tokens by the ",
      h("a", { href: "/run?run=example" }, "example run"),
      ", in ",
      term("nat", "nats per token"),
      "; lower is better.",
    );
  }

  return { element, fill };
}

function scene(kind, title, guesses) {
  const number = h("span.story-number.lab-number");
  const words = h("span.story-words");
  const element = h(`div.story-scene.${kind}`, {}, model(kind, guesses), h("h2", {}, title), h("p", {}, number, words));
  return {
    element,
    say(sentence, value = "") {
      number.textContent = value;
      words.textContent = sentence;
    },
  };
}

// Text goes in at the top, runs down through the layers, and the guesses come out below: four bars, the second being right.
function model(kind, guesses) {
  const [left, width, height, pitch, top] = [26, 68, 13, 23, 26];
  const y = (layer) => top + layer * pitch + (layer >= SAE_BEHIND ? 20 : 0);
  const middle = y(SAE_BEHIND) - 17;
  const bottom = y(LAYERS - 1) + height;
  const layers = Array.from({ length: LAYERS }, (_, layer) =>
    svg("g", {}, svg("rect.story-layer", { x: left, y: y(layer), width, height, rx: 4 }), kind === "repaired" && layer >= SAE_BEHIND ? addOn(left + width, y(layer), height) : null),
  );
  const dictionary = svg("path.story-dictionary", { d: `M60 ${middle - 15}l25 15l-25 15l-25-15z` });
  const features = [-9, -3, 3, 9].map((x, i) => svg("line.story-feature", { x1: 60 + x, x2: 60 + x, y1: middle + 4, y2: middle + 4 - [4, 9, 3, 6][i] }));
  const bars = guesses.map((share, i) => svg("rect.story-guess", { class: i === 1 ? "story-guess right" : "story-guess", x: 38 + i * 12, y: bottom + 44 - share * 26, width: 8, height: share * 26, rx: 2 }));
  return svg(
    "svg",
    { viewBox: "0 0 120 244", "aria-hidden": "true" },
    svg("text.story-label", { x: 60, y: 10 }, "text"),
    svg("line.story-stream", { x1: 60, x2: 60, y1: 14, y2: middle }),
    svg("line.story-stream.after", { x1: 60, x2: 60, y1: middle, y2: bottom + 14 }),
    ...layers,
    ...(kind === "alone" ? [] : [dictionary, ...features]),
    ...bars,
    svg("line.story-floor", { x1: 34, x2: 86, y1: bottom + 45, y2: bottom + 45 }),
    svg("text.story-label", { x: 60, y: bottom + 58 }, "guess"),
  );
}

// Two thin matrices beside a layer: one narrows, one widens.
const addOn = (x, y, height) => [
  svg("line.story-joint", { x1: x, x2: x + 6, y1: y + height / 2, y2: y + height / 2 }),
  svg("path.story-adapter", { d: `M${x + 5} ${y}l7 ${height / 2 - 2}l7-${height / 2 - 2}v${height}l-7-${height / 2 - 2}l-7 ${height / 2 - 2}z` }),
];

// From the model alone (left) to the model with its dictionary (right): what is still lost, and what was won back.
function gap(low, high, now, closed) {
  const share = Math.min(1, Math.max(0, (now - low) / (high - low)));
  const inWords = `The gap is ${three(high - low)} nats per token, from ${three(low)} to ${three(high)}. After the repair the loss is ${three(now)}: ${show(closed, "fraction")} of the gap is closed.`;
  return [
    h("p.story-headline", {}, h("b.lab-number", {}, show(closed, "fraction")), " of the ", term("gap", "gap"), " closed"),
    h(
      "div.story-bar",
      { role: "img", "aria-label": inWords },
      h("span.story-lost", { style: `flex-grow:${share}` }, `still lost ${three(now - low)}`),
      h("span.story-won", { style: `flex-grow:${1 - share}` }, `won back ${three(high - now)}`),
    ),
    h("div.story-ends", { "aria-hidden": "true" }, h("span", {}, h("b.lab-number", {}, three(low)), " alone"), h("span", {}, "with dictionary ", h("b.lab-number", {}, three(high)))),
  ];
}
