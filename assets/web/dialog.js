// A question with its choices in words. The browser's own <dialog> keeps the focus inside and gives it back.
import { h, problem } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

// choices: [{text, explains, tone: "primary" | "danger" | "", busy: "Stopping…", act: async () => …}]; the one without act leaves
// everything as it is.
export function choose({ title, words, content, choices }) {
  style("dialog");
  const trouble = h("div", { "aria-live": "assertive" });
  const heading = h("h2", { id: "lab-dialog-title" }, title);
  const dialog = h(
    "dialog.lab-dialog.lab-island",
    { "aria-labelledby": heading.id },
    heading,
    words ? h("p", {}, words) : null,
    content ?? null,
  );
  const buttons = choices.map((choice) => {
    const button = h(
      `button.lab-button${choice.tone ? `.${choice.tone}` : ""}`,
      { type: "button", onclick: () => take(choice, button) },
      choice.text,
    );
    return h("div.lab-dialog-choice", {}, button, choice.explains ? h("p.lab-note", {}, choice.explains) : null);
  });
  dialog.append(trouble, h("div.lab-dialog-choices", {}, ...buttons));

  async function take(choice, button) {
    if (!choice.act) return dialog.close();
    const all = [...dialog.querySelectorAll("button")];
    for (const each of all) each.disabled = true;
    button.textContent = choice.busy ?? choice.text;
    trouble.replaceChildren();
    try {
      await choice.act();
      dialog.close();
    } catch (error) {
      for (const each of all) each.disabled = false;
      button.textContent = choice.text;
      trouble.replaceChildren(problem(error));
    }
  }

  showDialog(dialog);
  return dialog;
}

// Shows a dialog over the page; it goes with Escape or a click beside it, and the focus returns to where it was.
export function showDialog(dialog) {
  const back = document.activeElement;
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (back?.isConnected) back.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}
