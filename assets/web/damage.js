// What the SAE does to this text and what adaptation heals, in one paragraph with the places to jump to, and as three numbers.
import { h } from "/lab/assets/dom.js";
import { healing, isAside, percent, value } from "/lab/assets/inspect_words.js";
import { partWords, quoted } from "/lab/assets/token_text.js";

const NOTHING = 0.02; // nats: a difference below it is none, and its shares are noise

// comparison as the lab gives it; specials: whether special tokens count; jump(index)
export function damage({ tokens, means }, specials, jump) {
  const places = counted(tokens, specials);
  if (!places.length) return h("p.lab-note.damage-words", {}, "Too short to measure: this text has no token that counts.");
  const worst = largest(places, harm);
  const healed = largest(places, ({ kl_before, kl_after }) => kl_before - kl_after);
  const left = largest(places, ({ kl_after }) => kl_after);
  const link = (token) => [h("button.damage-jump", { type: "button", onclick: () => jump(token.index), title: `Go to token ${token.index}` }, quoted(token.text)), partWords(token) && ` (${partWords(token)})`];
  const mean = (key) => (specials ? places.reduce((sum, token) => sum + token[key], 0) / places.length : means[key]);
  const [before, after] = [mean("kl_before"), mean("kl_after")];
  const rises = after > before + NOTHING;
  const sentences = [
    ...(rises ? [`Adaptation makes this text worse: the mean KL to the original rises from ${value(before)} to ${value(after)}. `] : []),
    ...(worst.kl_before < NOTHING
      ? ["The SAE alone does next to no harm on this text. "]
      : ["The SAE hurts most after ", link(worst), ` (KL ${value(worst.kl_before)}); ${healing(worst.kl_before, worst.kl_after)}. `]),
    ...(healed.index !== worst.index && healed.kl_before > healed.kl_after ? ["The most is won back after ", link(healed), `: KL ${value(healed.kl_before)} → ${value(healed.kl_after)}. `] : []),
    ...(left.index !== worst.index && left.kl_after > 0.1 ? ["What hurts most now is ", link(left), `, KL ${value(left.kl_after)}. `] : []),
  ];
  return h("section.damage", { "aria-label": "What the SAE does to this text" }, h("p.damage-words", {}, ...sentences), h("dl.damage-numbers", {}, ...numbers(before, after, means)));
}

// The token after which the SAE hurts most; null for a text without a token that counts.
export function worstOf(tokens) {
  const places = counted(tokens, false);
  return places.length ? largest(places, harm).index : null;
}

const harm = ({ kl_before }) => kl_before;
const counted = (tokens, specials) => tokens.map((token, index) => ({ ...token, index })).filter((token) => specials || !isAside(token));
const largest = (places, of) => places.reduce((best, place) => (of(place) > of(best) ? place : best));

function numbers(before, after, means) {
  const { ce_original, ce_before, ce_after } = means;
  return [
    fact("Mean KL over the text", `${value(before)} → ${value(after)}`, klWords(before, after)),
    [ce_original, ce_before, ce_after].some(missing)
      ? fact("Mean CE, with SAE", "–", "Too short to measure: no token of it is predicted and counts.")
      : fact("Mean CE, with SAE", `${value(ce_before)} → ${value(ce_after)}`, `original ${value(ce_original)}; ${ceWords(means, after > before + NOTHING)}`),
  ];
}

const missing = (number) => number === null || number === undefined;

function klWords(before, after) {
  if (after > before + NOTHING) return `rises by ${value(after - before)}: further from the original's predictions`;
  if (before < NOTHING) return "the SAE hardly changes the predictions here";
  return after < before ? `${percent(1 - after / before)} closer to the original's predictions` : "no closer to the original's predictions";
}

// Shares only of a gap that is one, and only where the predictions themselves came no further away.
function ceWords({ ce_original, ce_before, ce_after }, rises) {
  const gap = ce_before - ce_original;
  const cost = gap > NOTHING ? "" : gap < -NOTHING ? "the SAE alone had lowered it" : "the SAE alone had cost next to nothing";
  if (ce_after > ce_before + NOTHING && ce_after <= ce_original) return `rises by ${value(ce_after - ce_before)} towards the original's: ${cost}`;
  if (ce_after > ce_before + NOTHING) return `worse by ${value(ce_after - ce_before)} after adaptation${cost && `, ${cost}`}`;
  if (cost) return `${cost}, so there is no gap to close`;
  if (rises) return "nearer to the original's, yet the predictions moved away (KL)";
  const closed = 1 - (ce_after - ce_original) / gap;
  if (closed < 0.005) return "none of the gap closed";
  return closed >= 1 ? "the whole gap closed" : `${percent(closed)} of the gap closed`;
}

const fact = (name, number, words) => h("div", {}, h("dt", {}, name), h("dd", {}, h("b.lab-number", {}, number), h("span.lab-note", {}, words)));

// For researchers: what exactly is shown.
export const aboutDamage = () =>
  h(
    "details.lab-more",
    {},
    h("summary", {}, "How this is measured"),
    h(
      "div.lab-note.inspect-about",
      {},
      h("p", {}, "KL at a token is KL(original ‖ condition) in nats, of the distributions over the next token predicted there, in fp32. Before: the original model with its SAE in the stream. After: the adapted model with the same SAE in the stream."),
      h("p", {}, "CE at a token is −log p of this very token, predicted at the one before it; so harm done at a token shows as KL there and as CE one token later. KL sees changes that CE does not."),
      h("p", {}, "Special tokens pass by the SAE and are not scored, as in training. A short text says little about the adapter as a whole: the run page has the held-out measurement."),
      h("p", {}, "Opacity of a tint: 0.05 + 0.95·log₁₀(1 + 9·v / max). Thickness of an underline: √(KL / largest KL of the text)."),
    ),
  );
