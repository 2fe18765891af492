// The sentence that keeps a run from starting, and a button where one setting would mend it.
import { h } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";
import { wish } from "/lab/assets/wish.js";

export async function mount(element, { problem, fix, labels }) {
  await style("adapt");
  if (!problem) return;
  const mend = Object.entries(fix).map(([setting, value]) =>
    h("button.lab-button", { type: "button", onclick: () => wish({ set: { [setting]: value } }) }, `Set “${labels[setting]}” to ${value.toLocaleString("en")}`),
  );
  element.append(h("div.lab-problem.lab-stack", { role: "alert" }, h("p", {}, problem), mend.length ? h("div.lab-row", {}, mend) : null));
}
