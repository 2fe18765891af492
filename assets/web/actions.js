// What an owner does with a run: stop, resume, rename, share, delete. The lab checks each again; a hidden button protects nothing.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";
import { choose } from "/lab/assets/dialog.js";
import { called, isBusy } from "/lab/assets/progress.js";

export const act = (run, what, body = {}) => ask(runAddress(run.run_id, `/${what}`), { method: "POST", body });

export function askToStop(run, changed) {
  const waits = run.state === "queued" || run.state === "created";
  const keep = {
    text: waits ? "Take it out of the queue" : "Stop and keep",
    explains: waits
      ? "It stays on your list and can be resumed."
      : "It finishes this step, measures all conditions and saves the adapter, as a finished run does. Measuring takes about as long as the final measurement: up to a minute, more on a busy machine.",
    tone: "primary",
    busy: "Stopping…",
    act: async () => changed(await act(run, "stop")),
  };
  const discard = {
    text: "Discard",
    explains: "It ends now and its folder is removed. This cannot be undone.",
    tone: "danger",
    busy: "Discarding…",
    act: async () => {
      await act(run, "discard");
      location.assign("/runs");
    },
  };
  const place = h("p", { hidden: waits, role: "status" }, "Asking how far it is…");
  if (!waits) tellStep(run, place);
  choose({
    title: waits ? "Leave the queue?" : "Stop this run?",
    content: place,
    choices: [{ text: waits ? "Keep waiting" : "Continue", explains: "Nothing changes." }, keep, discard],
  });
}

// How far it is when the question is asked, not when the page last drew its buttons.
async function tellStep(run, place) {
  try {
    const { state, step, n_steps } = await ask(runAddress(run.run_id));
    place.textContent = isBusy(state)
      ? `It is at step ${step.toLocaleString("en")} of ${n_steps.toLocaleString("en")}.`
      : "It has ended in the meantime.";
  } catch {
    place.textContent = "The lab does not answer just now, so how far it is cannot be told.";
  }
}

export function askToDelete(run, done) {
  const remove = (with_files) => async () => {
    await act(run, "delete", { with_files });
    done();
  };
  choose({
    title: `Delete “${called(run)}”?`,
    choices: [
      { text: "Keep it", explains: "Nothing changes." },
      {
        text: "Delete from the list",
        explains: "Its folder with the adapter and all measurements stays on the lab's disk, and its link still opens it.",
        busy: "Deleting…",
        act: remove(false),
      },
      {
        text: "Delete with its files",
        explains: "Adapter, measurements, checkpoints and log are removed. This cannot be undone.",
        tone: "danger",
        busy: "Deleting…",
        act: remove(true),
      },
    ],
  });
}

// A name that its owner can change where it stands.
export function nameField(run, changed, { tag = "h1", link = null } = {}) {
  const words = link ? h("a", { href: link }) : h("span");
  const name = h(tag, {}, words);
  words.textContent = called(run);
  const box = h("div.run-name", {}, name);
  if (!run.may_act) return box;
  const pencil = h("button.run-pencil", { type: "button", "aria-label": `Rename ${called(run)}`, title: "Rename" }, "✎");
  box.append(pencil);
  pencil.addEventListener("click", () => {
    const input = h("input", { type: "text", value: run.name, maxlength: 120, "aria-label": "New name" });
    const trouble = h("div");
    const form = h(
      "form.run-name-form",
      {},
      input,
      h("button.lab-button.primary", {}, "Save"),
      h("button.lab-button", { type: "button", onclick: shut }, "Cancel"),
      trouble,
    );
    form.addEventListener("keydown", (event) => event.key === "Escape" && shut());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const answer = await act(run, "rename", { name: input.value.trim() });
        run = { ...run, name: answer.name };
        words.textContent = called(run);
        shut();
        changed({ name: answer.name });
      } catch (error) {
        trouble.replaceChildren(problem(error));
      }
    });
    box.replaceChildren(form);
    input.select();
  });
  function shut() {
    box.replaceChildren(name, pencil);
    pencil.focus();
  }
  return box;
}

// Who may look: a switch for the owner, and the link to hand on.
export function sharing(run, changed) {
  const trouble = h("div");
  const link = `${location.origin}/run?run=${encodeURIComponent(run.run_id)}`;
  const copied = h("span.lab-note", { role: "status" });
  const copy = h("button.lab-button", { type: "button", onclick: copyLink }, "Copy link");
  const box = h("input", { type: "checkbox", role: "switch", checked: run.shared, onchange: turn });
  const state = h("strong", {}, said(run.shared));
  const row = h("div.lab-row", {}, run.may_act ? h("label.run-switch", {}, box, state) : state, copy, copied);

  async function turn() {
    trouble.replaceChildren();
    try {
      await act(run, "share", { shared: box.checked });
      state.textContent = said(box.checked);
      changed({ shared: box.checked });
    } catch (error) {
      box.checked = !box.checked;
      trouble.replaceChildren(problem(error));
    }
  }
  async function copyLink() {
    try {
      await navigator.clipboard.writeText(link);
      copied.textContent = "Copied.";
    } catch {
      copied.textContent = link; // no clipboard here: the link itself, to be selected
    }
  }
  return h("div.lab-stack", {}, row, trouble);
}

const said = (shared) => (shared ? "Anyone with the link may look" : "Only you can see it");
