// The page of all SAEs: a line to search or paste into, filters with counts, rows that lead to the Adapt page. The lab searches; this shows.
import { ask, empty, h, problem, remember, show } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

const PAUSE_MS = 120; // after a key, before the lab is asked
const FILTERS = { model: "Every model", site: "Every place", width: "Every width" };
const count = (n) => n.toLocaleString("en");
const short = (n) => (n >= 2 ** 20 ? `${Math.round(n / 2 ** 20)}M` : n >= 10_000 ? `${Math.round(n / 1024)}k` : count(n));
const WORDS = { model: (value) => (value === "pocket" ? "Pocket model (built in)" : value), site: (value) => value, width: (value) => `${count(value)} features` };

const GROUPS = [
  { title: "Built in", sentence: "Comes with the lab: nothing to fetch, and a run takes about two minutes.", links: [["Pocket model", "pocket"]] },
  {
    title: "Real, small",
    sentence: "Open to everybody, half a gigabyte at most: a laptop is enough.",
    links: [
      ["GPT-2 small", "openai-community/gpt2"],
      ["Pythia 70M", "EleutherAI/pythia-70m-deduped"],
    ],
  },
  {
    title: "Gemma",
    sentence: "The widest choice of SAEs. Google asks for a login and its licence; from 2B on, use a GPU.",
    links: [
      ["Gemma 3 270M", "google/gemma-3-270m"],
      ["Gemma 3 1B", "google/gemma-3-1b-pt"],
      ["Gemma 2 2B", "google/gemma-2-2b"],
      ["Gemma 2 9B", "google/gemma-2-9b"],
    ],
  },
  {
    title: "Llama and Mistral",
    sentence: "Seven to eight billion parameters, for a large GPU. Llama asks for a login and its licence.",
    links: [
      ["Llama 3.1 8B", "meta-llama/Llama-3.1-8B"],
      ["R1 Distill 8B", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"],
      ["Mistral 7B", "mistralai/Mistral-7B-v0.1"],
    ],
  },
];

export async function mount(element) {
  await style("catalog");
  const asked = new URL(location.href).searchParams;
  const view = { q: asked.get("q") ?? "", model: asked.get("model") ?? "", site: asked.get("site") ?? "", width: asked.get("width") ?? "" };
  let [turn, timer, shown] = [0, null, 0];

  const search = h("input", {
    type: "search",
    value: view.q,
    id: "catalog-search",
    placeholder: "gemma-2-2b layer 12 16k l0 80",
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": "catalog-hint",
    oninput: () => soon({ q: search.value }),
  });
  const selects = Object.fromEntries(Object.entries(FILTERS).map(([name]) => [name, h("select", { "aria-label": `Filter by ${name}`, onchange: () => change({ [name]: selects[name].value }) })]));
  const status = h("p.lab-note.catalog-status", { role: "status" });
  const trouble = h("div");
  const body = h("tbody", { role: "rowgroup" });
  const table = h("table.catalog-table", { role: "table", "aria-label": "SAEs" }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ["Model", "Layer", "Place", "Width", "L0", "Release and id", ""].map((words) => h("th", { role: "columnheader", scope: "col" }, words || h("span.lab-visually-hidden", {}, "Adapt around it"))))), body);
  const nothing = h("div");
  const more = h("button.lab-button.catalog-more", { type: "button", hidden: true, onclick: () => look(shown) });
  const refused = h("div");
  const groups = GROUPS.map((group) => groupCard(group, (model) => change({ q: (search.value = ""), model, site: "", width: "" })));

  element.replaceChildren(
    h("header.catalog-head", {}, h("h1", {}, "SAEs"), h("p.lab-note", {}, "Every published sparse autoencoder that can be put into a model’s stream. Looking costs nothing: weights are fetched when a run starts.")),
    h("section.catalog-groups", { "aria-label": "Where to begin" }, groups.map(({ card }) => card)),
    h(
      "div.catalog-tools",
      { role: "search" },
      h("label.catalog-label", { for: "catalog-search" }, "Search, or paste a name"),
      search,
      h("p.lab-note", { id: "catalog-hint" }, "Words such as mlp, 16k, layer 12, l0 80; or an address on Hugging Face or Neuronpedia."),
      h("div.catalog-filters", {}, Object.values(selects)),
    ),
    status,
    trouble,
    table,
    nothing,
    more,
    refused,
  );

  function soon(part) {
    Object.assign(view, part);
    clearTimeout(timer);
    timer = setTimeout(() => change({}), PAUSE_MS);
  }

  function change(part) {
    Object.assign(view, part);
    remember(view);
    look(0);
  }

  async function look(offset) {
    clearTimeout(timer);
    const mine = ++turn;
    let found;
    try {
      found = await ask(`/lab/catalog/search?${new URLSearchParams({ ...view, offset })}`);
    } catch (error) {
      if (mine === turn) trouble.replaceChildren(problem(error));
      return;
    }
    if (mine === turn && element.isConnected) draw(found);
  }

  function draw(found) {
    trouble.replaceChildren();
    const rows = found.rows.map((row) => rowOf(row, found.feature));
    if (found.offset) body.append(...rows);
    else body.replaceChildren(...rows);
    shown = found.offset + rows.length;
    table.hidden = !found.n_found;
    const left = found.n_found - shown;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(50, left)} more`;
    if (found.offset) rows[0]?.querySelector(".catalog-go a")?.focus();
    status.textContent = sentence(found, shown);
    nothing.replaceChildren(...(found.n_found ? [] : [noneOf(found)]));
    for (const name of Object.keys(FILTERS)) fill(selects[name], FILTERS[name], WORDS[name], found.facets[name], view[name]);
    for (const group of groups) group.mark(view.model);
    if (!refused.firstChild) refused.append(refusals(found.refused));
  }

  function noneOf(found) {
    if (found.refusal) return h("div.lab-empty", { role: "alert" }, h("p", {}, found.refusal));
    const clear = h("button.lab-button", { type: "button", onclick: () => change({ q: (search.value = ""), model: "", site: "", width: "" }) }, "Clear search and filters");
    const filtered = view.model || view.site || view.width ? " with these filters" : "";
    const box = empty(view.q ? `No SAE matches “${view.q}”${filtered}.` : "No SAE has these together.");
    box.append(clear);
    return box;
  }

  look(0);
  return () => {
    turn++;
    clearTimeout(timer);
  };
}

function groupCard({ title, sentence, links }, choose) {
  const buttons = links.map(([words, model]) => h("button.lab-button.catalog-model", { type: "button", "aria-pressed": "false", "data-model": model, onclick: () => choose(buttons.find((one) => one.dataset.model === model).getAttribute("aria-pressed") === "true" ? "" : model) }, words));
  const card = h("section.lab-card.catalog-group", {}, h("h2", {}, title), h("p.lab-note", {}, sentence), h("div.lab-row", {}, buttons));
  return { card, mark: (model) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.model === model))) };
}

function sentence({ n_found, by_name, feature }, shown) {
  if (!n_found) return "";
  const of = feature === null ? "" : ` Feature ${feature} comes along as a pinned one.`;
  if (by_name && n_found === 1) return `This is the SAE of that name.${of}`;
  return `${count(n_found)} ${n_found === 1 ? "SAE" : "SAEs"}${shown < n_found ? `, ${count(shown)} shown` : ""}.${of}`;
}

function fill(select, all, words, counts, chosen) {
  const values = counts.map(({ value }) => String(value));
  const options = counts.map(({ value, n }) => h("option", { value, selected: String(value) === chosen }, `${words(value)} (${count(n)})`));
  if (chosen && !values.includes(chosen)) options.push(h("option", { value: chosen, selected: true }, `${chosen} (0)`));
  select.replaceChildren(h("option", { value: "", selected: !chosen }, all), ...options);
}

function rowOf(row, feature) {
  const name = `${row.release} / ${row.sae_id}`;
  const address = `/adapt?${new URLSearchParams({ model: row.model, release: row.release, sae_id: row.sae_id, ...(feature === null ? {} : { feature }) })}`;
  const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, ...children);
  return h(
    "tr",
    { role: "row" },
    cell("Model", row.built_in ? "Pocket model" : row.model),
    cell("Layer", h("span.lab-number", {}, row.layer)),
    cell("Place", row.site),
    cell("Width", h("span.lab-number", { title: `${count(row.d_sae)} features` }, short(row.d_sae))),
    cell("L0", h("span.lab-number", {}, row.l0 ? show(row.l0) : h("span", { title: "Not stated by its publisher" }, "–"))),
    h("td.catalog-name", { role: "cell", "data-label": "Name", title: row.also.length ? `Also ${row.also.join(", ")}` : null }, h("code", {}, name), badges(row, feature)),
    h("td.catalog-go", { role: "cell" }, h("a.lab-button", { href: address, "aria-label": `Adapt around ${name}` }, "Adapt")),
  );
}

function badges({ gated, here, built_in, canonical, n_bytes, neuronpedia }, feature) {
  const badge = (words, title) => h("span.lab-chip", { title }, words);
  return h(
    "span.catalog-badges",
    {},
    canonical ? badge("canonical", "The publisher’s own choice for this place and width") : null,
    built_in ? badge("built in", "Comes with the lab") : here ? badge("on this machine", "Its weights are in the Hub’s cache already") : n_bytes ? h("span.lab-note", { title: "Reckoned from its size" }, `≈ ${show(n_bytes, "bytes")} to fetch`) : null,
    gated ? badge("model is gated", "The Hub gives the model to people who signed in and accepted its licence. The SAE is open.") : null,
    neuronpedia ? h("a", { href: neuronpedia, target: "_blank", rel: "noopener" }, feature === null ? "Neuronpedia" : `Feature ${feature} on Neuronpedia`) : null,
  );
}

function refusals(rows) {
  const total = rows.reduce((sum, { n }) => sum + n, 0);
  if (!total) return "";
  return h(
    "details.lab-more.catalog-refused",
    {},
    h("summary", {}, `${count(total)} more are published and not offered. Why?`),
    h("ul", {}, rows.map(({ reason, n, sentence: why }) => h("li", {}, h("b", {}, `${count(n)} · ${reason}`), `. ${why}.`))),
  );
}
