// Which SAE to look through: a field that searches, and a list by layer that says which SAE is in the stream and whose features can change.
import { h } from "/lab/assets/dom.js";
import { count } from "/lab/assets/inspect_words.js";

// on.choose({release, sae_id}). An SAE as the lab lists it: {release, sae_id, hook_point, layer, d_sae, l0, spliced, can_change}
export function saePicker(on) {
  const now = h("span.picker-now", {}, "…");
  const button = h("button.lab-button.picker-button", { type: "button", "aria-haspopup": "listbox", "aria-expanded": "false", "aria-labelledby": "picker-label picker-now", onclick: () => (panel.hidden ? open() : shut()) }, now, h("span", { "aria-hidden": "true" }, "▾"));
  now.id = "picker-now";
  const search = h("input", { type: "search", role: "combobox", placeholder: "Layer, width or name", "aria-label": "Search SAEs", "aria-controls": "picker-list", "aria-expanded": "true", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false" });
  const list = h("div.picker-list", { role: "listbox", id: "picker-list", "aria-label": "SAEs of this model", tabindex: -1 });
  const panel = h("div.picker-panel", { hidden: true }, search, list);
  const element = h("div.picker", {}, h("span.inspect-label", { id: "picker-label" }, "SAE to look through"), h("div.picker-anchor", {}, button, panel));
  let [saes, chosen, shown, at] = [[], null, [], 0];

  function open() {
    panel.hidden = false;
    button.setAttribute("aria-expanded", "true");
    search.value = "";
    draw();
    at = Math.max(0, shown.findIndex((sae) => same(sae, chosen)));
    point();
    search.focus();
    document.addEventListener("pointerdown", outside);
  }
  function shut(back = false) {
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
    if (back) button.focus();
  }
  const outside = (event) => element.contains(event.target) || shut();

  function draw() {
    shown = saes.filter(matching(search.value));
    const groups = Map.groupBy ? Map.groupBy(shown, layerOf) : grouped(shown);
    list.replaceChildren(
      ...[...groups].map(([layer, members]) =>
        h("div.picker-group", { role: "group", "aria-label": layer }, h("div.picker-layer", { role: "presentation" }, layer, h("span", {}, reach(members))), ...members.map(row)),
      ),
    );
    if (!shown.length) list.append(h("p.lab-note.picker-none", {}, saes.length ? "No SAE of this model matches." : "The SAEs of this model are being looked up."));
    at = 0;
    point();
  }

  function row(sae) {
    return h(
      "div.picker-row",
      { role: "option", id: `picker-${shown.indexOf(sae)}`, "aria-selected": String(same(sae, chosen)), onclick: () => take(sae) },
      h("span.picker-size.lab-number", {}, `${sae.d_sae ? count(sae.d_sae) : "?"} features`),
      h("span.lab-number", {}, sae.l0 ? `L0 ${Number(sae.l0.toPrecision(3))}` : ""),
      h("code.picker-id", {}, sae.sae_id),
      sae.spliced ? h("span.lab-chip.picker-mark.spliced", {}, "in the stream") : null,
    );
  }

  function take(sae) {
    shut(true);
    on.choose(sae);
  }
  function point() {
    for (const each of list.querySelectorAll(".at")) each.classList.remove("at");
    const element = list.querySelector(`#picker-${at}`);
    search.setAttribute("aria-activedescendant", element?.id ?? "");
    element?.classList.add("at");
    element?.scrollIntoView({ block: "nearest" });
  }

  search.addEventListener("input", draw);
  panel.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 6, PageUp: at - 6 };
    if (event.key in moves) {
      at = Math.min(Math.max(0, moves[event.key]), shown.length - 1);
      point();
    } else if (event.key === "Enter" && shown[at]) take(shown[at]);
    else if (event.key === "Escape") shut(true);
    else if (event.key === "Tab") return shut();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  button.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    open();
  });

  return {
    element,
    offer(list) {
      saes = [...list].sort((one, other) => (one.layer ?? 0) - (other.layer ?? 0) || siteOf(one).localeCompare(siteOf(other)));
    },
    choose(sae) {
      chosen = sae;
      const known = saes.find((one) => same(one, sae)) ?? sae;
      now.replaceChildren(h("b", {}, layerOf(known)), ` ${[known.d_sae ? `${count(known.d_sae)} features` : null, known.l0 ? `L0 ${Number(known.l0.toPrecision(3))}` : null].filter(Boolean).join(", ")}`);
      now.title = `${known.release} ${known.sae_id}`;
    },
    close: () => shut(),
  };
}

export const same = (one, other) => Boolean(one && other && one.release === other.release && one.sae_id === other.sae_id);
const layerOf = (sae) => (sae.layer === null || sae.layer === undefined ? (sae.hook_point ?? sae.sae_id) : `Layer ${sae.layer}${siteOf(sae)}`);
const siteOf = ({ hook_point }) => (/attn|attention|hook_z/.test(hook_point ?? "") ? ", attention" : /mlp/.test(hook_point ?? "") ? ", MLP" : "");
const reach = (members) => (members.every(({ can_change }) => can_change) ? "can change" : members.some(({ can_change }) => can_change) ? "" : "cannot change: the adapter lies above");
// Every word asked for begins a word of the SAE's; "layer 4" is one word, so that 4 is not found in 2048.
export function matching(asked) {
  const words = asked.toLowerCase().replace(/(\d),(?=\d{3})/g, "$1").replace(/\blayer[\s_]*(\d+)/g, "layer=$1").split(/\s+/).filter(Boolean);
  return (sae) => {
    const own = described(sae).split(/[\s/]+/);
    return words.every((word) => (word.startsWith("layer=") ? own.includes(word) : own.some((one) => one.startsWith(word))));
  };
}

const described = (sae) => `layer=${sae.layer} ${layerOf(sae)} ${sae.release} ${sae.sae_id} ${sae.hook_point} ${sae.d_sae} l0 ${sae.l0} ${sae.spliced ? "in the stream" : ""} ${sae.can_change ? "can change" : "fixed"}`.toLowerCase();

function grouped(saes) {
  const groups = new Map();
  for (const sae of saes) groups.set(layerOf(sae), [...(groups.get(layerOf(sae)) ?? []), sae]);
  return groups;
}
