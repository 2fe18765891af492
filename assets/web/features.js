// The list of features at the left: what fires on this text, sorted, searched and filtered in the browser, so that moving through it is instant.
import { h } from "/lab/assets/dom.js";
import { FATES, NO_FATE, labelTitle, rare, signed, value } from "/lab/assets/inspect_words.js";
import { tokenText } from "/lab/assets/token_text.js";

const LISTED = 60; // the lab names no more features of a text
const DENSITIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
const SORTS = { change: "Changed most on this text", strongest: "Strongest on this text", token: "Strongest at the chosen token", label: "By label", number: "By number" };

// on: {choose(feature), open(number), take()}; take() follows when one was picked rather than walked past
export function features(on) {
  const search = h("input", { type: "search", placeholder: "Number or label", "aria-label": "Search features by number or label", autocomplete: "off", spellcheck: "false" });
  const sort = h("select", { "aria-label": "Sort features" }, ...Object.entries(SORTS).map(([key, words]) => h("option", { value: key }, words)));
  const dense = h("select", { "aria-label": "Hide features that fire often" });
  const tally = h("p.lab-note", { role: "status" });
  const notice = h("div.features-notice");
  const pass = h("div.features-pass");
  const columns = h("p.lab-note.features-columns");
  const list = h("div.features-list", { role: "listbox", "aria-label": "Features", tabindex: -1 });
  const element = h(
    "aside.features",
    { "aria-label": "Features on this text", tabindex: -1 },
    h("div.features-tools", {}, h("h2", {}, "Features"), search, sort, dense),
    notice,
    tally,
    pass,
    columns,
    list,
  );
  let [rows, sae, tokens, token, chosen, lastSort, shown] = [[], {}, [], null, null, "change", []];

  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") go(0);
    else if (event.key === "Enter" && shown.length) pick(shown[0].feature);
    else if (event.key === "Enter" && openable() !== null) open(openable());
    else return;
    event.preventDefault();
  });
  sort.addEventListener("change", () => {
    lastSort = sort.value === "token" ? lastSort : sort.value;
    draw();
  });
  dense.addEventListener("change", draw);
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-feature]");
    if (row) pick(Number(row.dataset.feature));
  });
  list.addEventListener("keydown", (event) => {
    const here = shown.findIndex(({ feature }) => feature === Number(event.target.dataset.feature));
    const moves = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: shown.length - 1, PageDown: here + 8, PageUp: here - 8 };
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") pick(shown[here].feature);
    else return;
    event.preventDefault();
  });

  function pick(feature) {
    on.choose(feature);
    on.take();
  }

  async function open(number) {
    await on.open(number);
    on.take();
  }

  function go(index) {
    const row = shown[Math.min(Math.max(0, index), shown.length - 1)];
    if (!row) return;
    on.choose(row.feature);
    list.querySelector(`[data-feature="${row.feature}"]`)?.focus();
  }

  function at({ before, after }) {
    return token === null ? null : [before[token], after[token]];
  }

  function sorted() {
    const limit = dense.value === "all" ? Infinity : Number(dense.value);
    const asked = search.value.trim().toLowerCase();
    const found = ({ feature, label }) => String(feature).includes(asked) || (label?.name ?? "").toLowerCase().includes(asked);
    const matches = (row) => (asked ? found(row) : row.opened || row.feature === chosen || (row.density ?? 0) <= limit);
    const firesAt = (row) => sort.value !== "token" || token === null || row.feature === chosen || Math.max(...at(row)) > 0;
    const keys = {
      change: (row) => [-row.change, -row.max],
      strongest: (row) => [-row.max],
      token: (row) => (token === null ? [-row.max] : [-Math.max(...at(row))]),
      label: (row) => [row.label ? 0 : 1, row.label?.name ?? "", -(row.label?.f1 ?? 0)],
      number: (row) => [row.feature],
    };
    const key = keys[sort.value];
    return rows.filter((row) => matches(row) && firesAt(row)).sort((one, other) => inOrder(key(one), key(other)));
  }

  function offerDensities() {
    const usual = fitting(sae.l0, sae.d_sae);
    const kept = dense.options.length && !dense.hidden ? dense.value : null;
    dense.replaceChildren(
      ...DENSITIES.map((limit) => h("option", { value: limit, selected: limit === usual }, `Hide those on > ${100 * limit} % of tokens`)),
      h("option", { value: "all", selected: usual === "all" }, "Show dense features too"),
    );
    if (kept !== null) dense.value = kept;
    dense.hidden = rows.every(({ density }) => density === null || density === undefined);
  }

  const openable = () => {
    const asked = search.value.trim();
    if (!/^\d{1,9}$/.test(asked)) return null;
    const number = Number(asked);
    return number < (sae.d_sae ?? Infinity) && !rows.some(({ feature }) => feature === number) ? number : null;
  };

  function draw() {
    shown = sorted();
    const top = Math.max(1e-9, ...shown.map((row) => Math.max(...(sort.value === "token" && token !== null ? at(row) : [row.max]))));
    const opens = openable();
    list.replaceChildren(
      ...shown.map((row) => rowOf(row, top)),
      ...(opens === null ? [] : [h("button.lab-button.features-open", { type: "button", onclick: () => open(opens) }, `Open feature ${opens}`)]),
    );
    const reach = shown.some(({ feature }) => feature === chosen) ? chosen : shown[0]?.feature;
    list.querySelector(`[data-feature="${reach}"]`)?.setAttribute("tabindex", 0);
    tally.replaceChildren(...tallied(opens));
    const changes = sae.can_change ? (sort.value === "token" && token !== null ? ", then the change there" : "; Δ is the change summed over the text") : "";
    columns.textContent = shown.length ? `${sort.value === "token" && token !== null ? "Activation at the token" : "Peak on this text"}, before → after${changes}.` : "";
  }

  function showDense() {
    dense.value = "all";
    draw();
    dense.focus();
  }

  const allOf = () => (rows.length < LISTED ? `${rows.length} that fire on this text.` : sae.can_change ? `The ${rows.length} that changed most or fire strongest on this text.` : `The ${rows.length} that fire strongest on this text.`);

  function tallied(opens) {
    if (!rows.length) return ["No feature fires on this text."];
    const hidden = rows.length - shown.length;
    const where = sort.value === "token" && token !== null ? [" at ", h("code", {}, tokenText(tokens[token].text))] : [];
    if (shown.length && where.length) {
      const n = shown.filter((row) => Math.max(...at(row)) > 0).length;
      return [n === 1 ? "1 fires at " : `${n} fire at `, where[1], "."];
    }
    if (shown.length) return [search.value ? `${shown.length} of ${rows.length} match.` : hidden ? [`${shown.length} listed. `, ...hiding(hidden)] : allOf()].flat();
    return [opens !== null ? "Not among those listed. It can be opened all the same." : search.value ? "No listed feature matches." : hidden && !where.length ? hiding(hidden) : "All are hidden by the filters above."].flat();
  }

  const hiding = (n) => [`${n} that ${n === 1 ? "fires" : "fire"} on more than ${100 * dense.value} % of tokens ${n === 1 ? "is" : "are"} hidden · `, h("button.features-show", { type: "button", onclick: showDense }, "show")];

  // Where one feature has a label, a missing one says something.
  const labelled = () => rows.some(({ label }) => label);

  function rowOf(row, top) {
    const { feature, label, density } = row;
    const known = density !== null && density !== undefined;
    const status = sae.can_change ? row.status : null; // where nothing can change, “kept” would say nothing
    const here = sort.value === "token" && token !== null;
    const [before, after] = here ? at(row) : [Math.max(0, ...row.before), Math.max(0, ...row.after)];
    const change = here ? after - before : row.change;
    const words = `Feature ${feature}${label ? `, ${label.name}` : ""}${status ? `, ${status}` : ""}: ${here ? "activation" : "peak"} ${value(before)} before, ${value(after)} after`;
    return h(
      "div.features-row",
      { role: "option", tabindex: -1, "data-feature": feature, "aria-selected": String(feature === chosen), "aria-label": words },
      h("span.features-number.lab-number", {}, `#${feature}`),
      label ? h("span.features-label", { title: labelTitle(label) }, label.name, h("i.lab-number", {}, `F1 ${value(label.f1)}`)) : h("span.features-label.none", { title: known && labelled() ? "No known label fits it." : null }, known ? `fires on ${rare(density)} of tokens` : ""),
      status ? h("span.features-fate", { "data-fate": status, title: FATES[status] }, status) : known && sae.can_change ? h("span.features-fate.none", { title: NO_FATE }, "–") : h("span"),
      h("span.features-bars", { "aria-hidden": "true", style: `--before: ${before / top}; --after: ${after / top}` }, h("i"), h("i")),
      h("span.features-values.lab-number", {}, value(before, 1), " → ", value(after, 1)),
      sae.can_change ? h("span.features-change.lab-number", { title: here ? "Change at this token" : "How far its activations moved, summed over the text" }, here ? signed(change, 1) : `Δ ${value(change, 1)}`) : null,
    );
  }

  return {
    element,
    // comparison as the lab gives it; notes: elements that say what holds for all these features
    show(comparison, notes) {
      [rows, sae, tokens, token, chosen] = [comparison.features, comparison.sae, comparison.tokens, null, null];
      notice.replaceChildren(...notes);
      dense.replaceChildren(); // another SAE has another default
      offerDensities();
      lastSort = sae.can_change && rows.some(({ change }) => change > 1e-3) ? "change" : "strongest";
      sort.value = lastSort;
      search.value = "";
      draw();
    },
    // The same features, of which more is known now.
    learn(comparison) {
      rows = [...rows.filter(({ opened }) => opened), ...comparison.features];
      offerDensities();
      draw();
    },
    // The pass over held-out text, which brings labels and fates: how far it is, null when it is through.
    pass(done, total) {
      if (done === null) return pass.replaceChildren();
      if (!pass.firstChild) pass.append(h("p.lab-note", {}, `Labels${sae.can_change ? ", densities and fates" : " and densities"} come with a pass over held-out text, once for each SAE.`), h("progress", { "aria-label": "Reading held-out text" }));
      if (total) Object.assign(pass.querySelector("progress"), { max: total, value: done });
    },
    choose(feature) {
      chosen = feature;
      if (!search.value && !shown.some((row) => row.feature === feature) && rows.some((row) => row.feature === feature)) draw(); // no filter hides what is chosen
      for (const row of list.querySelectorAll("[data-feature]")) {
        const own = Number(row.dataset.feature) === feature;
        row.setAttribute("aria-selected", String(own));
        row.tabIndex = own ? 0 : -1;
        if (own) keepInView(list, row);
      }
      if (!list.querySelector('[tabindex="0"]')) list.querySelector("[data-feature]")?.setAttribute("tabindex", 0);
    },
    // A token was chosen: with `sorts`, the list turns to what fires there.
    token(index, sorts) {
      token = index;
      if (sorts && index !== null) sort.value = "token";
      if (index === null && sort.value === "token") sort.value = lastSort;
      if (sort.value === "token") draw();
    },
    // A feature that was opened by its number joins the list.
    add(row) {
      rows = [row, ...rows.filter(({ feature }) => feature !== row.feature)];
      search.value = "";
      draw();
    },
    neighbour(by) {
      const here = shown.findIndex(({ feature }) => feature === chosen);
      return shown[here < 0 ? 0 : (here + by + shown.length) % shown.length]?.feature ?? null;
    },
  };
}

// "Often" is relative: an SAE with few features and a high L0 has none that fire rarely. Four times its mean density, at least one per cent.
function fitting(l0, d_sae) {
  if (!l0 || !d_sae) return 0.01;
  return DENSITIES.find((limit) => limit >= (4 * l0) / d_sae) ?? "all";
}

function inOrder(one, other) {
  for (let i = 0; i < one.length; i++) {
    if (one[i] < other[i]) return -1;
    if (one[i] > other[i]) return 1;
  }
  return 0;
}

function keepInView(list, row) {
  const [top, bottom] = [row.offsetTop - list.offsetTop, row.offsetTop - list.offsetTop + row.offsetHeight];
  if (top < list.scrollTop) list.scrollTop = top - 4;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight + 4;
}
