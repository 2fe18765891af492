// A run's settings as a table, in the words of the config file; what differs from the default stands out.
import { duration, h } from "/lab/assets/dom.js";

// A text by its name alone: where on the lab's machine a file lies says nothing.
const textName = (source) => (source.startsWith("/") ? source.split("/").at(-1) : source);

// {"train.tokens": 147456, …}: one entry per setting, whatever its depth. SAEs are read as one setting.
export function flat(config, prefix = "") {
  return Object.entries(config).reduce((all, [key, value]) => {
    const name = prefix ? `${prefix}.${key}` : key;
    if (name === "data.source") return { ...all, [name]: textName(value) };
    if (name === "saes") return { ...all, saes: value.map(({ release, sae_id }) => [release, sae_id].filter(Boolean).join(" / ")) };
    const nested = value !== null && typeof value === "object" && !Array.isArray(value);
    return { ...all, ...(nested ? flat(value, name) : { [name]: value }) };
  }, {});
}

// The config with the SAEs that were really used, where it leaves the choice to the lab.
export const spelledOut = (config, saes) => ({
  ...config,
  saes: config.saes.map((sae, i) => ({ ...sae, sae_id: sae.sae_id || saes?.[i]?.sae_id })),
});

export function told(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (Array.isArray(value)) return value.length ? value.join(", ") : "–";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : String(value);
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The settings that tell runs apart, on one line.
export function inShort({ config: { model, adapter, train, data }, saes, descent }) {
  const places = (saes ?? []).map(({ layer, sae_id, release }) =>
    layer === null || layer === undefined ? sae_id || release : `layer ${layer}`,
  );
  const where = adapter.layers.length
    ? `layers ${adapter.layers.join(", ")}`
    : { after: "layers after the SAE", all: "all layers" }[adapter.placement];
  const text = data.source === "pocket" ? "" : ` of ${textName(data.source)}`;
  return [
    model.model,
    `SAE at ${places.join(", ")}`,
    `rank ${adapter.rank} on ${where}`,
    adapter.start && (adapter.start.includes("/") || !descent) ? `begins with ${adapter.start.split("@")[0]}` : null,
    train.tokens ? `${train.tokens.toLocaleString("en")} tokens${text}` : "nothing trained",
  ]
    .filter(Boolean)
    .join(" · ");
}

// saes: those that were used, as the run's summary names them.
export function settingsTable(config, defaults, saes = []) {
  const [mine, usual] = [flat(config), flat(defaults)];
  const used = flat(spelledOut(config, saes));
  const names = Object.keys(mine).filter((name) => name !== "name");
  const changed = names.filter((name) => name in usual && !same(mine[name], usual[name]));
  const row = (name) => {
    const differs = changed.includes(name);
    return h(
      `tr${differs ? ".settings-changed" : ""}`,
      {},
      h("th", { scope: "row" }, h("code", {}, name)),
      h(
        "td",
        {},
        differs ? h("strong", {}, told(used[name])) : told(used[name]),
        differs ? h("span.lab-note", {}, ` default: ${told(usual[name])}`) : null,
      ),
    );
  };
  const table = (rows) =>
    h(
      "div.lab-scroll",
      { tabindex: 0, role: "region", "aria-label": "The settings as a table" },
      h("table.lab-table", {}, h("tbody", {}, ...rows.map(row))),
    );
  return h(
    "div.lab-stack",
    {},
    changed.length ? table(changed) : h("p.lab-note", {}, "Every setting is the default."),
    h("details", {}, h("summary", {}, `All ${names.length} settings`), table(names)),
  );
}

// How the steps were computed, and how long that took; nothing of a run that has not ended, or that did not record it.
export function computed({ computed: known }) {
  const took = Object.entries(known?.seconds ?? {}).map(([doing, seconds]) => `${doing} took ${duration(seconds)}`);
  const sentences = [known?.way, took.join(", ")].filter(Boolean).map((words) => `${words[0].toUpperCase()}${words.slice(1)}.`);
  return sentences.length ? h("p.lab-note", {}, sentences.join(" ")) : null;
}

// The SAEs that were put into the model, with what was measured of them.
export function spliced(saes) {
  const number = (value, words) => (value === null || value === undefined ? null : `${words} ${value}`);
  const facts = ({ d_sae, l0, fve, layer, measured }) =>
    [
      layer === null || layer === undefined ? null : `layer ${layer}`,
      number(d_sae?.toLocaleString("en"), "features"),
      number(l0?.toFixed(1), "L0"),
      number(fve && `${(100 * fve).toFixed(1)} %`, "variance explained"),
      l0 || fve ? (measured ? "measured in the original model" : "as its publisher states") : null,
    ]
      .filter(Boolean)
      .join(" · ");
  const link = ({ neuronpedia }) =>
    neuronpedia?.startsWith("https://")
      ? h("a", { href: neuronpedia, target: "_blank", rel: "noopener noreferrer" }, "on Neuronpedia")
      : null;
  return h(
    "ul.settings-saes",
    {},
    ...(saes ?? []).map((sae) =>
      h("li", {}, h("code", {}, `${sae.release} / ${sae.sae_id}`), h("span.lab-note", {}, facts(sae)), link(sae)),
    ),
  );
}
