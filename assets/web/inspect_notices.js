// What a reader must know before believing the page: that features cannot change here and where they can, and what the lab remarked.
import { h } from "/lab/assets/dom.js";
import { placeOf, value } from "/lab/assets/inspect_words.js";
import { same } from "/lab/assets/sae_picker.js";

const OFFERED = 4;
const FAR = { times: 3, nats: 1 }; // a text this much more surprising than held-out text is not the model's kind

// The adapter lies above this SAE: why nothing moves, and the SAEs of the layers where something does. look({sae})
export function cannotChange({ sae, above }, saes, look) {
  if (sae.can_change) return [];
  const offer = (one) => h("button.lab-button.inspect-above", { type: "button", title: one.sae_id, onclick: () => look({ sae: one }) }, named(one, saes));
  return [
    h(
      "div.inspect-notice",
      { role: "note" },
      h("p", {}, h("b", {}, "These features cannot change: "), "the adapter lies only in layers above this SAE, so both models give it the same stream."),
      ...(above.length ? [h("p.lab-note", {}, "Those of SAEs above it can. Look through"), h("div.inspect-aboves", {}, ...above.slice(0, OFFERED).map(offer))] : []),
    ),
  ];
}

// Which SAE stands in the stream, where CE and KL come from, and which is only read: the two need not be the same. look({sae})
export function inStream({ sae }, saes, look) {
  const own = saes.filter(({ spliced }) => spliced);
  const lower = (one) => named(one, saes).replace(/^Layer/, "layer");
  if (!own.length) return ["CE and KL are measured with the run's own SAE in the stream. You look through: ", h("b", {}, sae.sae_id), sae.spliced ? "." : ", which only reads."];
  const words = ["In the stream: ", h("b", {}, own.map(lower).join("; ")), ` (the ${own.length > 1 ? "ones" : "one"} this run was adapted to). `];
  const back = h("button.inspect-own", { type: "button", title: own[0].sae_id, onclick: () => look({ sae: own[0] }) }, "Look through the run's own SAE");
  if (!sae.spliced) return [...words, "You look through: ", h("b", {}, lower(sae)), `, which only reads.${sae.can_change && own.every(({ can_change }) => !can_change) ? ` Why this one: the adapter lies above the run's own SAE, so features cannot change there; at ${placeOf(sae)} they can.` : ""} CE and KL are about the SAE in the stream. `, back];
  return [...words, own.length > 1 ? "You look through: " : "You look through the same one.", ...(own.length > 1 ? [h("b", {}, lower(sae)), "."] : [])];
}

// Text of another world than the model's: what anything does to it says little. tries: buttons with texts of the model's own world
export function unknownText({ means, heldout_ce_original: known }, tries) {
  const cost = means.ce_original;
  if (cost === null || cost === undefined || cost <= FAR.times * known || cost <= known + FAR.nats) return [];
  return [
    h(
      "div.inspect-notice.inspect-unknown",
      { role: "note" },
      h("p", {}, h("b", {}, "The model itself does not know text like this: "), `its surprise is ${value(cost)} per token, ${value(known)} on text it knows. What the SAE and the adapter do here says little. Try one of the samples.`),
      h("div.inspect-ready", {}, ...tries),
    ),
  ];
}

// The lab's remarks, without the one that cannotChange says at more length.
export const remarks = ({ sae, notes }) => notes.filter((note) => sae.can_change || !note.includes("cannot change")).map((note) => h("p.inspect-notice", {}, note));

function named(one, saes) {
  const sae = saes.find((other) => same(other, one));
  if (!sae) return one.sae_id;
  const width = sae.d_sae % 1024 ? `${sae.d_sae}` : `${sae.d_sae / 1024}k`;
  return `Layer ${sae.layer}: ${width}${sae.l0 ? `, L0 ${Math.round(sae.l0)}` : ""}`;
}
