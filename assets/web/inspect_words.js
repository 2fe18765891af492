// Numbers and words of the page Inspect, so that every part of it says the same.
export const value = (number, digits = 2) => (number === null || number === undefined ? "–" : number.toFixed(digits).replace("-", "−"));
export const signed = (number, digits = 2) => {
  if (number === null || number === undefined) return "–";
  const shown = Math.abs(number).toFixed(digits);
  return Number(shown) === 0 ? shown : `${number < 0 ? "−" : "+"}${shown}`;
};
export const percent = (fraction, digits = 0) => (fraction === null || fraction === undefined ? "–" : `${(100 * fraction).toFixed(digits)} %`);
export const count = (number) => number.toLocaleString("en");

// Densities span decades: two significant digits.
export const rare = (fraction) => (fraction === null || fraction === undefined ? "–" : fraction === 0 ? "0 %" : `${Number((100 * fraction).toPrecision(2))} %`);

// What became of a feature over the held-out text (one text may differ), as the lab's activity pass over held-out text found it.
export const FATES = {
  kept: "over the held-out text it fires on the same tokens as before",
  shifted: "over the held-out text it still fires, but differently",
  lost: "over the held-out text it fired before adaptation, hardly any more",
  new: "over the held-out text it hardly fired before, fires now",
};

// Why a feature has no fate, although the pass over held-out text is through.
export const NO_FATE = "It fires too seldom on held-out text to say what became of it.";

// What the number beside a label is.
export const labelTitle = ({ name, f1 }) => `Of what the pocket world is made of, “${name}” fits best. F1 ${value(f1)}: how well “it fires” matches “this is there” over the held-out text; 1 is perfect.`;

// What of a KL that the SAE caused the adapter undid. Shares of next to nothing would be noise.
export function healing(before, after) {
  if (before < 0.02) return after < 0.02 ? "the SAE does no harm here" : "no harm before, a little now";
  const share = 1 - after / before;
  return share >= 0 ? `adaptation heals ${percent(Math.min(1, share))} of it` : `adaptation makes it worse by ${value(after - before)}`;
}

// The opacity law of the tints: small activations stay visible beside large ones.
export const opacity = (magnitude, largest) =>
  magnitude < 5e-5 || !(largest > 0) ? 0 : Math.min(1, 0.05 + 0.95 * Math.log10(1 + (9 * magnitude) / largest));

// Special tokens (BOS and the like) pass by the SAE and are not scored.
export const isAside = (token) => token.bypassed || !token.scored;

export const placeOf = (sae) => (sae.layer === null || sae.layer === undefined ? sae.hook_point : `layer ${sae.layer}`);
