// A look at the text before a run: its first documents, and the first sequence as the model will see it.
import { ask, h, problem } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

let last = { key: null, found: null }; // a change elsewhere in the form draws this view anew: what was looked at stays

export async function mount(element, { config }) {
  await style("adapt");
  const key = config && JSON.stringify([config.data, config.model]);
  const place = h("div.lab-stack", { "aria-live": "polite" });
  const button = h("button.lab-button", { type: "button", disabled: !config, onclick: look }, "Look at the text");
  element.append(h("div.lab-row", {}, button, config ? null : h("span.lab-note", {}, "as soon as the settings fit together")), place);
  if (key && last.key === key) place.append(...shown(last.found));

  async function look() {
    button.disabled = true;
    place.replaceChildren(h("p.lab-note", { role: "status" }, "Reading and cutting into tokens: some ten seconds."));
    try {
      last = { key, found: await ask("/lab/preview", { method: "POST", body: { config } }) };
      place.replaceChildren(...shown(last.found));
    } catch (error) {
      place.replaceChildren(problem(error));
    }
    button.disabled = false;
  }
}

function shown(found) {
  const documents = found.documents.map(({ text, n_characters, heldout }) =>
    h("li", {}, h("p.preview-text", {}, text, n_characters > text.length ? "…" : ""), h("span.lab-note", {}, `${n_characters.toLocaleString("en")} characters · ${heldout ? "held out" : "trained on"}`)),
  );
  const more = found.n_tokens > found.tokens.length ? `, of which the first ${found.tokens.length}` : "";
  const short = found.n_tokens < found.context_length ? " This is all the text there is: too little for one sequence." : "";
  return [
    h("h3", {}, "First documents"),
    h("ol.preview-documents", {}, documents),
    h("h3", {}, "First training sequence"),
    h("p.lab-note", {}, `${found.n_tokens} tokens${more}; a document has ${found.tokens_per_document} on average. Documents follow one another; marked tokens stand between them.${short}`),
    h("div.preview-tokens", {}, found.tokens.map(token)),
  ];
}

const token = ({ text, id, special }, index) =>
  h(`span.preview-token${special ? ".special" : ""}${index % 2 ? ".odd" : ""}`, { title: `token ${id}` }, text.replaceAll("\n", "↵") || "\u00a0");
