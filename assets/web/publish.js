// A finished run brought to the Hub: what would be published, the push as it goes on, and where it lies.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";
import { called } from "/lab/assets/progress.js";

const LOOK_AGAIN_MS = 1500;
const NAME = "[A-Za-z0-9][A-Za-z0-9_.\\-]*/[A-Za-z0-9][A-Za-z0-9_.\\-]*";

// -> an element that fills itself; run: a run of the visitor's own that has a result.
export function publishing(run) {
  const address = runAddress(run.run_id, "/publishing");
  const element = h("div.lab-stack");
  show();
  return element;

  async function show() {
    try {
      const { why_not, latest, published, namespace } = await ask(address);
      if (latest?.state === "under way") return underWay(latest);
      const parts = [];
      if (latest?.state === "failed") parts.push(problem(new Error(latest.problem)));
      const url = latest?.url || published?.url;
      if (url) parts.push(h("p", {}, "Published: ", h("a", { href: url, target: "_blank", rel: "noopener" }, latest?.repo_id ?? published.repo_id), checkedWords(published)));
      if (latest?.note) parts.push(h("p.lab-note", { role: "status" }, latest.note));
      if (why_not) parts.push(h("p.lab-note", {}, `${why_not}.`));
      else parts.push(form(latest?.repo_id ?? published?.repo_id ?? (namespace ? `${namespace}/${slug(called(run))}` : "")));
      element.replaceChildren(...parts);
    } catch (error) {
      element.replaceChildren(problem(error));
    }
  }

  function underWay({ repo_id, phase }) {
    element.replaceChildren(h("p", { role: "status" }, `Publishing as ${repo_id}: ${phase}…`), h("progress.progress-bar", { "aria-label": "Publishing" }));
    setTimeout(() => element.isConnected && show(), LOOK_AGAIN_MS);
  }

  function form(repo_id) {
    const name = h("input", { type: "text", required: true, pattern: NAME, value: repo_id, placeholder: `your-name/${slug(called(run))}`, maxlength: 193, autocomplete: "off", spellcheck: "false" });
    const visible = h("input", { type: "checkbox" });
    const proposal = h("input", { type: "checkbox" });
    const look = h("button.lab-button", { type: "button" }, "See what would be published");
    const go = h("button.lab-button.primary", { type: "submit" }, "Publish");
    const below = h("div");
    const box = h(
      "form.publish-form.lab-stack",
      {},
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
      try {
        below.replaceChildren(...previewed(await ask(`${address}/preview`, { method: "POST", body: { repo_id: name.value.trim() } })));
      } catch (error) {
        below.replaceChildren(problem(error));
      }
      look.disabled = false;
    });
    box.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        const body = { repo_id: name.value.trim(), private: !visible.checked, pull_request: proposal.checked };
        underWay((await ask(address, { method: "POST", body })).latest);
      } catch (error) {
        below.replaceChildren(problem(error));
        go.disabled = false;
      }
    });
    return box;
  }
}

const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "adapter";

const kilobytes = (n) => `${Math.max(1, Math.round(n / 1000)).toLocaleString("en")} kB`;
const checkedWords = (published) => (published?.checked ? ". Downloaded again, it measured the same." : ".");

const previewed = ({ files, card }) => [
  h("ul.publish-files", {}, ...files.map(({ name, n_bytes }) => h("li", {}, h("code", {}, name), h("span.lab-note", {}, ` ${kilobytes(n_bytes)}`)))),
  h("pre.publish-card", { tabindex: 0, role: "region", "aria-label": "The card as it would be published" }, card),
];
