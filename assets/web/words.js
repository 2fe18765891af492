// What the numbers mean, in plain sentences; and one step deeper: how they are measured, with the formulas of the table of metrics.
import { h, metrics, show } from "/lab/assets/dom.js";

// A number with its unit and a true minus sign.
export const told = (value, unit) => show(value, unit).replace(/^-/, "−");

// Above 100 % the gap says something else than below: the sentence of lorasae/metrics.py, and a short one where there is little room.
export const LEARNED =
  "More than 100 % means that the adapted model with its SAE predicts this text better than the original did: it learned the text, which is no repair. The number to trust then is KL to the original.";
export const LEARNED_IN_SHORT = "Above 100 % it learned this text, no repair: trust KL to the original.";
export const hasLearned = (gapClosed) => typeof gapClosed === "number" && gapClosed > 1;

const three = (value) => Math.abs(value).toFixed(3);

// measured: {metric: number | null}; where: "" once all of the held-out text was measured, else on which part of it
export function gapSentence({ ce_gap_before: before, ce_gap_after: after, gap_closed: closed }, where = "", state = "") {
  if (before === null && state === "failed") return "It failed before anything was measured.";
  if (before === null) return "What the SAE costs is measured before training starts. The number appears here.";
  const cost = `${where ? `${where}, the` : "The"} SAE costs ${three(before)} nats per token`;
  if (after === null && state === "failed") return `${cost}. It failed before adaptation was measured.`;
  if (after === null) return `${cost}. How much of that adaptation wins back shows at the first evaluation.`;
  if (closed === null) return `${cost}: too little to say what share was won back.`;
  if (hasLearned(closed)) return `${cost}; the adapted model now predicts this text ${three(after)} better than the original. ${LEARNED}`;
  const so = where ? " so far" : "";
  if (closed < 0) return `${cost}; after adaptation it is ${three(after)}: adaptation made it worse${so}, not better.`;
  return `${cost}; adaptation won back ${three(before - after)} of it${so}: ${show(closed, "fraction")} of the damage repaired.`;
}

// Of a run that trained nothing: an adapter as it is, whoever made it.
export function measuredSentence({ ce_gap_before: before, ce_gap_after: after }) {
  if (before === null || after === null) return "The adapter is measured as it is; nothing is trained. The numbers appear here.";
  return `The SAE costs the original model ${three(before)} nats per token. With this adapter, as it is, the model with the SAE predicts ${three(after)} ${after < 0 ? "better" : "worse"} than the original alone. Nothing was trained in this run.`;
}

export function klSentence({ kl_original_sae: before, kl_adapted_sae: after }) {
  if (before === null) return "How far predictions move away from the original model's when the SAE is in place.";
  if (after === null) return "With the SAE in place, predictions move this far away from the original model's.";
  const share = 1 - after / before;
  return share >= 0
    ? `With the SAE in place, predictions are now ${show(share, "fraction")} closer to the original model's.`
    : `With the SAE in place, predictions are now ${show(-share, "fraction")} further from the original model's.`;
}

export function recoveredSentence({ loss_recovered_adapted_sae: after }) {
  const scale = "0 % would be as bad as erasing the stream at the SAE, 100 % as good as without SAE";
  return after === null
    ? `${scale}. Measured again at the end.`
    : `${scale}. It starts high for a usable SAE: the last per cents are the hard ones.`;
}

export function sideEffectSentence({ ce_change_adapted: change }) {
  if (change === null) return "What adaptation did to the model when the SAE is taken out again. Measured at the end.";
  if (change < 0)
    return `With the SAE taken out again, the adapted model predicts this text ${three(change)} nats per token better than the original.`;
  return `With the SAE taken out again, the adapted model predicts ${three(change)} nats per token worse than the original: the price of adapting.`;
}

export const CAVEATS = {
  gap: "Measured on held-out text that was not trained on. The ± is one standard error over held-out sequences. During training an eighth of that text is used, chosen so that it stands for the whole; the final number uses all of it. 0 % = the SAE as it is; 100 % = as good as without SAE; above it the adapter learned the text itself, and KL to the original is the number to trust.",
  kl: "KL compares whole predicted distributions, so it sees changes that cross-entropy does not. It is what training minimises. The training curve is noisy because each step sees different text.",
  recovered: "Compare it only between SAEs at the same place: erasing the stream hurts more at some layers than at others.",
  sideEffect: "A small number means that the adapter serves the SAE and little else. It says nothing about tasks that were not measured.",
  speed: "Averaged since the start; evaluations and checkpoints are not counted.",
  memory: "The largest of the process since it last started: it grows until a resume starts a new process. On a CPU it is the whole process, on a GPU its tensors.",
  learningRate: "It rises during the warm-up, then follows the schedule of the settings.",
};

// The deeper lane of a number: its caveat and its formulas. Filled when the table of metrics has come.
export function deeper(keys, caveat) {
  const formulas = h("dl.words-formulas");
  metrics().then(
    ({ metrics: table }) =>
      formulas.replaceChildren(
        ...keys
          .filter((key) => table[key])
          .flatMap((key) => [h("dt", {}, table[key].label), h("dd", {}, `${table[key].formula} (${table[key].unit})`)]),
      ),
    () => formulas.remove(),
  );
  return h("details.words-deeper", {}, h("summary", {}, "How this is measured"), h("p", {}, caveat), formulas);
}
