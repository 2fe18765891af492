// A finished run brought to the Hub: what would be published, the push as it goes on, and where it lies.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";
import { cardView } from "/lab/assets/card_view.js";
import { showDialog } from "/lab/assets/dialog.js";
import { plainName } from "/lab/assets/open_published.js";
import { called } from "/lab/assets/progress.js";
import { style } from "/lab/assets/style.js";

const LOOK_AGAIN_MS = 1500;

// -> an element that fills itself; run: a run of the visitor's own that has a result.
export function publishing(run) {
  const address = runAddress(run.run_id, "/publishing");
  const phase = h("p", { role: "status", tabindex: -1 });
  const work = [phase, h("progress.progress-bar", { "aria-label": "Publishing" })];
  const element = h("div.lab-stack");
  const visible = h("input", { type: "checkbox" }); // what was chosen stays, however often one tries
  const proposal = h("input", { type: "checkbox" });
  show();
  return element;

  async function show() {
    const follows = document.activeElement === phase; // whoever pressed Publish here reads on where it ends
    try {
      const { why_not, latest, published, namespace, name_pattern } = await ask(address);
      if (latest?.state === "under way") return underWay(latest);
      const parts = [];
      if (latest?.state === "failed") parts.push(problem(new Error(latest.problem)));
      const there = latest?.url ? latest : published; // a try that failed lies nowhere
      const link = there && h("a", { href: there.url, target: "_blank", rel: "noopener" }, there.repo_id);
      if (there) parts.push(h("p", {}, "Published: ", link, checkedWords(published?.repo_id === there.repo_id && published)));
      if (latest?.note) parts.push(h("p.lab-note", { role: "status" }, latest.note));
      if (why_not) parts.push(h("p.lab-note", {}, `${why_not}.`));
      else parts.push(form(latest?.repo_id ?? published?.repo_id ?? (namespace ? `${namespace}/${slug(called(run))}` : ""), name_pattern));
      element.replaceChildren(...parts);
      if (follows) (latest?.url ? link : element.querySelector("input"))?.focus();
    } catch (error) {
      element.replaceChildren(problem(error));
    }
  }

  function underWay(latest) {
    const words = `Publishing as ${latest.repo_id}: ${latest.phase}…`;
    if (phase.textContent !== words) phase.textContent = words; // said aloud once
    if (!phase.isConnected) element.replaceChildren(...work);
    setTimeout(() => element.isConnected && show(), LOOK_AGAIN_MS);
  }

  function form(repo_id, pattern) {
    const name = h("input", { type: "text", required: true, pattern, title: "NAME/ADAPTER: letters, digits, - _ and .", value: repo_id, placeholder: `your-name/${slug(called(run))}`, maxlength: 193, autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    name.addEventListener("change", () => (name.value = plainName(name.value)));
    const look = h("button.lab-button", { type: "button" }, "See what would be published");
    const go = h("button.lab-button.primary", { type: "submit" }, "Publish");
    const below = h("div", { "aria-live": "assertive" });
    const box = h(
      "form.publish-form.lab-stack",
      {},
      run.descent?.unchanged && run.descent.repo_id ? h("p", {}, `This is ${run.descent.repo_id}, unchanged. The card will say so, and whose it is.`) : null,
      h("label.lab-stack", {}, h("span", {}, "Name on the Hub"), name, h("span.lab-note", {}, "Yours or your organisation's, a slash, and a name for the adapter.")),
      h("label", {}, visible, " for everybody to see; else only for you"),
      h("span.lab-note", {}, "A repository of yours that is there already is made public if you choose so; one that is public stays so."),
      h("label", {}, proposal, " as a pull request to an existing repository"),
      h("p.lab-note", {}, "One commit with the adapter, its result, settings, measurements, two pictures and a card in plain words. Afterwards it is downloaded and measured again, and the card says so."),
      h("div.lab-row", {}, go, look),
      below,
    );
    look.addEventListener("click", async () => {
      if (!name.reportValidity()) return;
      look.disabled = true;
      below.replaceChildren();
      try {
        const repo_id = name.value.trim();
        showPreview(repo_id, await ask(`${address}/preview`, { method: "POST", body: { repo_id } }), look);
      } catch (error) {
        below.replaceChildren(problem(error));
      }
      look.disabled = false;
    });
    box.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      below.replaceChildren();
      try {
        const body = { repo_id: name.value.trim(), private: !visible.checked, pull_request: proposal.checked };
        underWay((await ask(address, { method: "POST", body })).latest);
        phase.focus();
      } catch (error) {
        below.replaceChildren(problem(error));
        go.disabled = false;
      }
    });
    return box;
  }
}

// Card and files in a dialog; closed, it gives the focus back to the button.
function showPreview(repo_id, { files, card, pictures }, button) {
  style("dialog");
  const { front, body } = cardView(card, pictures);
  const close = h("button.lab-button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog.lab-dialog.lab-island.publish-preview",
    { "aria-labelledby": "publish-preview-title" },
    h("div.publish-preview-head", {}, h("h2", { id: "publish-preview-title" }, `${repo_id}, as it would be published`), close),
    h("div.publish-card", { tabindex: 0, role: "region", "aria-label": "The card as it would be published" }, body),
    h("details", {}, h("summary", {}, `${files.length} files`), h("ul.publish-files", {}, files.map(({ name, n_bytes }) => h("li", {}, h("code", {}, name), h("span.lab-note", {}, ` ${kilobytes(n_bytes)}`))))),
    h("details", {}, h("summary", {}, "What the Hub itself reads"), h("pre.card-code", { tabindex: 0 }, front)),
  );
  button.disabled = false; // what is disabled takes no focus back
  button.focus();
  showDialog(dialog);
}

const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "adapter";

const kilobytes = (n) => `${Math.max(1, Math.round(n / 1000)).toLocaleString("en")} kB`;
const checkedWords = (published) => (published?.checked ? ". Downloaded again, it measured the same." : ".");
