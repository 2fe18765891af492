// The chosen feature above the panes: who it is, what became of it, and where to go on with it; without one, what the tint shows instead.
import { h } from "/lab/assets/dom.js";
import { term } from "/lab/assets/glossary.js";
import { FATES, labelTitle, signed, value } from "/lab/assets/inspect_words.js";
import { partWords, quoted } from "/lab/assets/token_text.js";

// on: {step(by), clear()}; extras: elements at the end (pin)
export function featureBar(on) {
  const words = h("div.featurebar-words", { "aria-live": "polite" });
  const tools = h("div.featurebar-tools");
  const element = h(
    "div.featurebar",
    {},
    h("div.featurebar-steps", {}, step(-1, "‹", "Previous feature"), step(1, "›", "Next feature")),
    words,
    tools,
  );

  function step(by, sign, label) {
    return h("button.lab-button.quiet.featurebar-step", { type: "button", "aria-label": label, title: label, onclick: () => on.step(by) }, sign);
  }

  // feature as the lab gives it, or null; pin: element
  // labelled: whether other features here have a label; changes: whether adaptation can change features here
  function show(feature, tokens, pin, { labelled = false, changes = true } = {}) {
    if (!feature) {
      words.replaceChildren(h("h2", {}, "Where it hurts, where it heals"), h("p.lab-note", {}, "The tint shows KL. Choose a feature and it shows that feature's activation."));
      tools.replaceChildren();
      return;
    }
    const { before, after, label, density } = feature;
    const known = density !== null && density !== undefined;
    const status = changes ? feature.status : null;
    const peak = before.reduce((best, _, i) => (Math.max(before[i], after[i]) > Math.max(before[best], after[best]) ? i : best), 0);
    const silent = Math.max(before[peak], after[peak]) === 0;
    words.replaceChildren(
      h(
        "h2",
        {},
        `Feature ${feature.feature} `,
        label ? h("span.lab-chip", { title: labelTitle(label) }, `${label.name} `, term("f1", "F1"), h("span.lab-number", {}, ` ${value(label.f1)}`)) : null,
        status ? h("span.features-fate", { "data-fate": status, title: FATES[status] }, term("fates", status)) : null,
      ),
      h("p.lab-note.lab-number", {}, silent ? "Silent on this text." : `Strongest at ${quoted(tokens[peak].text)}${partWords(tokens[peak]) && ` (${partWords(tokens[peak])})`}: ${value(before[peak])} → ${value(after[peak])} (${signed(after[peak] - before[peak])}).`, status ? ` “${status}” is said over the held-out text; this text may differ.` : "", labelled && known && !label ? " No known label fits it." : ""),
    );
    tools.replaceChildren(pin, h("button.lab-button.quiet", { type: "button", title: "Tint by KL instead", onclick: on.clear }, "Show KL"));
  }
  return { element, show };
}
