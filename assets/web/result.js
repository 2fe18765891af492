// What a run has achieved: one big number with its sentence, the picture of the gap, and four numbers beside them.
import { h } from "/lab/assets/dom.js";
import { gapPicture } from "/lab/assets/gap.js";
import { CAVEATS, deeper, gapSentence, klSentence, measuredSentence, recoveredSentence, sideEffectSentence, told as shown } from "/lab/assets/words.js";

const CONDITIONS = ["ce_original", "ce_original_sae", "ce_adapted_sae", "ce_adapted"];
const GAP = ["ce_gap_before", "ce_gap_after", "gap_closed"];
const KL = ["kl_original_sae", "kl_adapted_sae"];
const RECOVERED = ["loss_recovered_original_sae", "loss_recovered_adapted_sae"];
const SIDE_EFFECT = ["ce_change_adapted", "kl_adapted"];
const MEASURED = [...CONDITIONS, ...GAP, ...KL, ...RECOVERED, ...SIDE_EFFECT];

// The latest numbers: the final ones, or those of the latest evaluation. numbers: {metric: {value, standard_error}}; plain: {metric: value};
// step: of that evaluation; where: on which part of the held-out text.
export function measuredNow(run, series) {
  const [steps] = series.of("gap_closed");
  const numbers =
    run.results ??
    Object.fromEntries(MEASURED.map((metric) => [metric, { value: series.last(metric), standard_error: series.last(`${metric}_error`) }]));
  const plain = Object.fromEntries(MEASURED.map((metric) => [metric, numbers[metric]?.value ?? null]));
  const where = run.results || !steps.length ? "" : "On an eighth of the held-out text"; // before training all of it is measured
  return { numbers, plain, where, step: steps[steps.length - 1] ?? 0 };
}

// -> {element, update(run, series)}
export function result() {
  const big = h("p.lab-big.result-big");
  const error = h("span.result-error.lab-number");
  const sentence = h("p.result-sentence");
  const when = h("p.lab-note");
  const picture = gapPicture();
  const tiles = [
    tile(
      "CE gap",
      ["ce_gap_before", "ce_gap_after"],
      "nats/token",
      () => "What the SAE adds to the loss, before and after adaptation.",
      CAVEATS.gap,
      GAP,
    ),
    tile("KL to the original", KL, "nats/token", klSentence, CAVEATS.kl, KL),
    tile("Loss recovered", RECOVERED, "fraction", recoveredSentence, CAVEATS.recovered, RECOVERED),
    tile("CE change, SAE off", ["ce_change_adapted"], "nats/token", sideEffectSentence, CAVEATS.sideEffect, SIDE_EFFECT, true),
  ];
  const element = h(
    "section.result",
    { "aria-label": "Result" },
    h(
      "div.lab-card.result-main",
      {},
      h("div.result-number", {}, h("h2", {}, "Gap closed"), h("div.result-line", {}, big, error), sentence, when, deeper(GAP, CAVEATS.gap)),
      picture.element,
    ),
    h("div.result-tiles", {}, ...tiles.map((each) => each.element)),
  );

  function update(run, series) {
    const { numbers, plain, where, step } = measuredNow(run, series);
    const closed = numbers.gap_closed;
    big.classList.toggle("worse", plain.gap_closed < 0);
    big.textContent = plain.gap_closed === null ? "–" : shown(plain.gap_closed, "fraction");
    error.textContent = closed?.standard_error ? `± ${(100 * closed.standard_error).toFixed(1)}` : "";
    error.title = closed?.standard_error ? "one standard error over held-out sequences" : "";
    sentence.textContent = run.config?.train.tokens === 0 ? measuredSentence(plain) : gapSentence(plain, where, run.state);
    when.textContent = whenMeasured(run, step, plain);
    picture.update(Object.fromEntries(CONDITIONS.map((metric) => [metric, plain[metric]])));
    for (const each of tiles) each.update(numbers, plain);
  }
  return { element, update };
}

function whenMeasured(run, step, plain) {
  if (run.results && run.heldout) return `On ${run.heldout.n_tokens.toLocaleString("en")} held-out tokens that were not trained on.`;
  const kept = run.kept && `Stopped at step ${run.kept.step.toLocaleString("en")}, it had closed ${shown(run.kept.gap_closed.value, "fraction")} of the gap.`;
  if (plain.gap_closed === null) return [kept, "0 % = the SAE as it is, 100 % = as good as without SAE."].filter(Boolean).join(" ");
  return [`Measured at step ${step}; the final number uses all of the held-out text, and may differ by a few times the ±.`, kept].filter(Boolean).join(" ");
}

function tile(title, keys, unit, words, caveat, formulas, signed = false) {
  const numbers = h("p.tile-numbers.lab-number");
  const sentence = h("p.lab-note");
  const sign = (value) => (signed && value > 0 ? "+" : "");
  function update(all, plain) {
    const told = keys.map((key) => (plain[key] === null ? "–" : `${sign(plain[key])}${shown(plain[key], unit)}`));
    const error = all[keys[keys.length - 1]]?.standard_error;
    const spread = error ? h("small.lab-note", {}, ` ± ${unit === "fraction" ? (100 * error).toFixed(2) : error.toFixed(4)}`) : null;
    numbers.replaceChildren(
      ...(told.length === 1
        ? [h("b", {}, told[0])]
        : [
            h("span.tile-before", {}, h("span.lab-visually-hidden", {}, "before "), told[0]),
            h("span", { "aria-hidden": "true" }, " → "),
            h("b", {}, h("span.lab-visually-hidden", {}, "after "), told[1]),
          ]),
      ...(spread ? [spread] : []),
    );
    sentence.textContent = words(plain);
  }
  return { element: h("div.lab-card.tile", {}, h("h3", {}, title), numbers, sentence, deeper(formulas, caveat)), update };
}
