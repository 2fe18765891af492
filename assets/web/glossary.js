// The glossary: a panel that every page can open, and words in a text that open it at their place.
import { showDialog } from "/lab/assets/dialog.js";
import { h } from "/lab/assets/dom.js";
import { WORDS } from "/lab/assets/glossary_words.js";
import { style } from "/lab/assets/style.js";

// term("gap", "gap"): the text, as something that can be asked about.
export function term(word, text = WORDS[word][0]) {
  return h("button.lab-term", { type: "button", title: `What “${WORDS[word][0]}” means`, "aria-haspopup": "dialog", onclick: () => openGlossary(word) }, text);
}

export async function openGlossary(word = "") {
  if (document.querySelector(".glossary[open]")) return;
  await style("glossary");
  const entries = Object.entries(WORDS).map(([key, [name, meaning]]) => ({ key, name, meaning, element: h("div", { "data-word": key }, h("dt", { tabindex: -1 }, name), h("dd", {}, meaning)) }));
  const nothing = h("p.lab-note", { role: "status" });
  const search = h("input", { type: "search", placeholder: "Find a word", "aria-label": "Find a word", oninput: filter });
  const dialog = h(
    "dialog.glossary.lab-island",
    { "aria-labelledby": "glossary-title" },
    h("header", {}, h("h2", { id: "glossary-title" }, "What the words mean"), h("button.lab-button.quiet", { type: "button", onclick: () => dialog.close() }, "Close")),
    search,
    nothing,
    h("dl", {}, ...entries.map((entry) => entry.element)),
    h("footer", {}, h("button.lab-button", { type: "button", onclick: tour }, "Take the tour")),
  );

  function filter() {
    const asked = search.value.trim().toLowerCase();
    const fits = entries.filter(({ element, name, meaning }) => {
      element.hidden = !`${name} ${meaning}`.toLowerCase().includes(asked);
      return !element.hidden;
    });
    nothing.textContent = fits.length ? "" : "No such word here. Try a shorter one.";
  }

  async function tour() {
    dialog.close();
    (await import("/lab/assets/tour.js")).startTour();
  }

  showDialog(dialog);
  const asked = entries.find((entry) => entry.key === word)?.element;
  if (!asked) return;
  asked.classList.add("asked");
  asked.scrollIntoView({ block: "center" });
  asked.querySelector("dt").focus({ preventScroll: true });
}
