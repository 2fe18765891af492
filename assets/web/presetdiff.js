// What is not as the preset has it, each with a button that takes it back.
import { h } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";
import { wish } from "/lab/assets/wish.js";

const shown = (value) => {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return "none";
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" && Number.isInteger(value) ? value.toLocaleString("en") : String(value);
};

export async function mount(element, { preset, sentence, readable, rows, scale }) {
  await style("adapt");
  element.append(h("p.lab-note", {}, sentence));
  if (!readable) return;
  if (!rows.length) {
    element.append(h("p.adapt-same", {}, `Every setting is as “${preset}” has it.`));
    return;
  }
  const back = (changed) => wish({ set: Object.fromEntries(changed.map((row) => [row.setting, row.preset])) });
  const button = (text, label, changed) => h("button.lab-button.adapt-small", { type: "button", "aria-label": label, onclick: () => back(changed) }, text);
  element.append(
    h(
      "table.lab-table.adapt-diff",
      {},
      h("caption", {}, rows.length === 1 ? `One setting differs from “${preset}”` : `${rows.length} settings differ from “${preset}”`),
      h("thead", {}, h("tr", {}, ["Setting", "Preset", "Here", ""].map((name) => h("th", { scope: "col" }, name || h("span.lab-visually-hidden", {}, "Take back"))))),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", title: row.setting }, row.label),
            h("td", {}, shown(row.preset)),
            h("td.adapt-changed", {}, shown(row.value)),
            h("td", {}, button("Take back", `Take back ${row.label}`, [row])),
          ),
        ),
      ),
    ),
    ...(scale ? scaleNote(scale) : []),
    ...(rows.length > 1 ? [button("Take all back", "Take all changes back", rows)] : []),
  );
}

// Alpha does not follow the rank by itself: that may be meant, so it is said, and changed at a press.
function scaleNote({ sentence, alpha }) {
  const keep = () => wish({ set: { "adapter.alpha": alpha } });
  return [
    h("p.lab-note", {}, sentence),
    alpha === null ? null : h("button.lab-button.adapt-small", { type: "button", onclick: keep }, `Set Alpha to ${alpha.toLocaleString("en")} to keep the scale`),
  ].filter(Boolean);
}
