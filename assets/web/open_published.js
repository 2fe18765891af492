// The box into which a repository's name is pasted: an adapter that was published from a lab becomes a run; any other LoRA adapter gets a
// small form, with the SAE to look at it with, and is measured as it is. The lab finds out from the repository's files which of the two it is.
import { ask, h, problem, show } from "/lab/assets/dom.js";

const count = (n) => n.toLocaleString("en");
const goTo = (run) => location.assign(`/run?run=${encodeURIComponent(run)}`);
// A repository's name, of its address too.
export const plainName = (text) => text.trim().replace(/^https?:\/\/(?:www\.)?(?:huggingface\.co|hf\.co)\//, "").split("/").slice(0, 2).join("/");

export async function openAdapter(repoId) {
  goTo((await ask("/lab/open", { method: "POST", body: { repo_id: repoId } })).run_id);
}

export async function measureAdapter(repoId, commit, saes = []) {
  const submission = `${repoId}@${commit} ${crypto.randomUUID?.() ?? Date.now()}`.slice(-100); // one click, one run
  goTo((await ask("/lab/gallery/measure", { method: "POST", body: { repo_id: repoId, commit, saes, submission } })).run_id);
}

// A button that says what it is doing, and tells a problem in `trouble`.
export function doing(what, words, busy, act, trouble) {
  const button = h(what, { type: "button" }, words);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = busy;
    trouble.replaceChildren();
    try {
      await act();
    } catch (error) {
      trouble.replaceChildren(problem(error));
    }
    button.disabled = false;
    button.textContent = words;
  });
  return button;
}

export function openBox() {
  const name = h("input", {
    type: "text",
    id: "open-name",
    placeholder: "name/adapter",
    maxlength: 250,
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-describedby": "open-hint",
  });
  const below = h("div", { "aria-live": "polite" });
  const button = h("button.lab-button.primary", { type: "submit" }, "Open");

  async function look(event) {
    event.preventDefault();
    if (!plainName(name.value)) return name.focus();
    button.disabled = true;
    button.textContent = "Looking…";
    below.replaceChildren();
    try {
      const found = await ask(`/lab/gallery/repository?repo_id=${encodeURIComponent(plainName(name.value))}`);
      if (found.kind === "lorasae") {
        button.textContent = "Fetching…";
        await openAdapter(found.repo_id);
      } else {
        below.replaceChildren(await measuringForm(found));
        below.querySelector("select, a")?.focus();
      }
    } catch (error) {
      below.replaceChildren(problem(error));
    }
    button.disabled = false;
    button.textContent = "Open";
  }

  return h(
    "section.lab-card.open-box",
    { "aria-label": "Open an adapter of the Hub" },
    h("form", { onsubmit: look }, h("label.open-label", { for: "open-name" }, "Open any adapter of the Hub by its name"), h("div.open-line", {}, name, button)),
    h(
      "p.lab-note",
      { id: "open-hint" },
      "One that was published from LoRA-SAE Lab becomes one of your runs. Any other LoRA adapter can be measured and looked into with an SAE of its model.",
    ),
    below,
  );
}

async function measuringForm(found) {
  const { saes } = found.n_saes ? await ask(`/lab/catalog/saes?model=${encodeURIComponent(found.model)}`) : { saes: [] };
  const facts = h("p", {}, `${found.repo_id} is a LoRA adapter of ${found.model === "pocket" ? "the pocket model" : found.model}: rank ${found.rank} on ${found.modules.map((path) => path.split(".").at(-1)).join(", ")} of ${found.layers.length} layers, ${found.n_bytes < 1e6 ? "less than 1 MB" : show(found.n_bytes, "bytes")}. It was not made around an SAE.`);
  const more = h("a", { href: `/adapt?continue=${encodeURIComponent(`${found.repo_id}@${found.commit}`)}` }, "All settings, on the page Adapt");
  if (!saes.length) return h("div.open-found", {}, facts, h("p.lab-note", {}, "The lab knows no SAE of that model, and without one there is nothing to look with."));
  const layers = [...new Set(saes.map(({ layer }) => layer))];
  const layer = h("select", { onchange: () => fill(Number(layer.value)) }, layers.map((each) => h("option", { value: each, selected: each === layers[(layers.length - 1) >> 1] }, `Layer ${each}`)));
  const sae = h("select");
  const trouble = h("div", { "aria-live": "assertive" });
  function fill(chosen) {
    const here = saes.filter((each) => each.layer === chosen);
    sae.replaceChildren(...here.map((each, i) => h("option", { value: saes.indexOf(each), selected: i === 0 }, `${each.site}, ${count(each.d_sae)} features${each.l0 ? `, L0 ${show(each.l0)}` : ""} · ${each.sae_id || each.release}`)));
  }
  fill(Number(layer.value));
  const chosen = () => saes[Number(sae.value)];
  const go = doing("button.lab-button.primary", "Measure it", "Starting…", () => measureAdapter(found.repo_id, found.commit, [{ release: chosen().release, sae_id: chosen().sae_id }]), trouble);
  return h(
    "div.open-found",
    {},
    facts,
    h("div.open-line", {}, h("label.lab-stack", {}, h("span", {}, "Layer of the SAE"), layer), h("label.lab-stack.open-sae", {}, h("span", {}, "SAE to look at it with"), sae)),
    h("p.lab-note", {}, "A run that trains nothing measures the four conditions and can be inspected like any other: what this adapter changes in what the SAE sees."),
    h("div.lab-row", {}, go, more),
    trouble,
  );
}
