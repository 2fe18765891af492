// Opens an adapter that was published from a lab: a question for its name, then the page of the run that it becomes.
import { ask, h } from "/lab/assets/dom.js";
import { choose } from "/lab/assets/dialog.js";

export const openButton = () => h("button.lab-button", { type: "button", onclick: askForName }, "Open a published adapter…");

function askForName() {
  const name = h("input", { type: "text", placeholder: "name/adapter", maxlength: 193, autocomplete: "off", spellcheck: "false" });
  const open = async () => {
    const { run_id } = await ask("/lab/open", { method: "POST", body: { repo_id: name.value.trim() } });
    location.assign(`/run?run=${encodeURIComponent(run_id)}`);
  };
  choose({
    title: "Open a published adapter",
    words: "It must have been published from LoRA-SAE Lab. Its files are fetched and checked, and it becomes one of your runs.",
    content: h("label.lab-stack", {}, h("span", {}, "Its name on the Hub"), name),
    choices: [
      { text: "Leave it", explains: "Nothing changes." },
      { text: "Open", explains: "Base model and SAE are fetched later, when a run needs them.", tone: "primary", busy: "Fetching…", act: open },
    ],
  });
  name.focus();
}
