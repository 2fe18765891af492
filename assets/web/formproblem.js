// The sentences that keep a run from starting, or speak against it, each with a button where it is known what would mend it.
import { h, signInLink } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";
import { wish } from "/lab/assets/wish.js";

export async function mount(element, { problems, warnings, labels }) {
  await style("adapt");
  const told = (kind, role, { sentence, fix, sign_in }) => {
    const changes = Object.entries(fix).map(([setting, value]) => `“${labels[setting]}” to ${value.toLocaleString("en", { maximumSignificantDigits: 15 })}`);
    const mend = h("button.lab-button", { type: "button", onclick: () => wish({ set: fix }) }, `Set ${changes.join(" and ")}`);
    return h(`div.${kind}.lab-stack`, { role }, h("p", {}, sentence), changes.length || sign_in ? h("div.lab-row", {}, changes.length ? mend : signInLink()) : null);
  };
  element.append(...problems.map((each) => told("lab-problem", "alert", each)), ...warnings.map((each) => told("adapt-warning", "status", each)));
}
