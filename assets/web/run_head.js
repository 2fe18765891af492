// The top of a run's page: what can be done with it now, and what its ending means.
import { h, problem } from "/lab/assets/dom.js";
import { act, askToStop } from "/lab/assets/actions.js";
import { isBusy } from "/lab/assets/progress.js";

export function runButtons(run, changed) {
  const id = encodeURIComponent(run.run_id);
  const busy = isBusy(run.state);
  return [
    run.results || run.step > 0
      ? h(`a.lab-button${busy || canResume(run) ? "" : ".primary"}`, { href: `/inspect?run=${id}` }, "Look inside")
      : null,
    run.may_act && busy ? stopButton(run, changed) : null,
    run.may_act && canResume(run) ? resumeButton(run, changed) : null,
    run.results && !busy ? h("a.lab-button", { href: `/adapt?continue=${id}`, title: "Train its adapter further, or around another SAE" }, "Continue") : null,
    h("a.lab-button", { href: `/adapt?from=${id}` }, "Duplicate"),
    busy ? noticeButton(run) : null,
  ].filter(Boolean);
}

const canResume = ({ state }) => ["interrupted", "failed", "stopped"].includes(state);

function stopButton(run, changed) {
  const stopping = run.state === "stopping";
  return h(
    "button.lab-button",
    { type: "button", disabled: stopping, onclick: () => askToStop(run, changed) },
    stopping ? "Stopping…" : "Stop…",
  );
}

function resumeButton(run, changed) {
  if (run.resume_blocked)
    return h(
      "span.run-blocked",
      {},
      h("button.lab-button", { type: "button", disabled: true, "aria-describedby": "run-blocked" }, "Resume"),
      h("span.lab-note", { id: "run-blocked" }, run.resume_blocked),
    );
  const button = h("button.lab-button.primary", { type: "button" }, "Resume");
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Resuming…";
    try {
      const answer = await act(run, "resume");
      changed({ state: "queued", phase: "queued", message: "", ...answer });
    } catch (error) {
      button.replaceWith(problem(error));
    }
  });
  return button;
}

// Asked for by a click, never by itself.
function noticeButton(run) {
  if (!window.Notification || Notification.permission === "denied") return null;
  const asked = sessionStorage.getItem("lab-notice") === run.run_id && Notification.permission === "granted";
  const button = h(
    "button.lab-button",
    { type: "button", "aria-pressed": String(asked) },
    asked ? "You will be told" : "Tell me when it is done",
  );
  button.addEventListener("click", async () => {
    const allowed = (await Notification.requestPermission()) === "granted";
    if (allowed) sessionStorage.setItem("lab-notice", run.run_id);
    button.textContent = allowed ? "You will be told" : "Your browser does not allow it";
    button.setAttribute("aria-pressed", String(allowed));
  });
  return button;
}

// Whose adapter the run's is, or was before.
export function cameFrom(descent) {
  if (!descent) return null;
  const { repo_id, run_id, unchanged } = descent;
  if (run_id) return h("p.lab-note", {}, unchanged ? "It is the adapter of " : "It began with the adapter of ", h("a", { href: `/run?run=${encodeURIComponent(run_id)}` }, "another run"), ".");
  if (!repo_id) return null;
  const link = h("a", { href: `https://huggingface.co/${repo_id}`, target: "_blank", rel: "noopener" }, repo_id);
  const whose = ` of ${repo_id.split("/")[0]}`;
  return h("p.lab-note", {}, unchanged ? "This is the adapter " : "It began with the adapter ", link, whose, unchanged ? ", as it was published." : ".");
}

// How a run that did not finish ended: the cause, what it means, what to do next.
export function ending(run) {
  if (!["failed", "interrupted"].includes(run.state)) return [];
  const kept =
    run.step > 0
      ? `The first ${run.step.toLocaleString("en")} steps were measured, and the newest checkpoint is kept.`
      : "It had not taken a step, so nothing is lost.";
  const mismatch = run.message.includes("trust_measured");
  const again = mismatch ? ` It will end the same way unless the settings change.` : "";
  const next = run.resume_blocked
    ? `It cannot be resumed. ${run.resume_blocked}. Duplicate it to start again with these settings, or with others.`
    : `Resume ${run.step > 0 ? "takes it up from the newest checkpoint" : "tries it again from the start"}.${again} Duplicate starts again with these settings, or with others.`;
  const line = (term, words) => [h("dt", {}, term), h("dd", {}, words)];
  return [
    h(
      "div.run-ending",
      { role: "alert" },
      h("h2", {}, run.state === "failed" ? "This run failed" : "This run was interrupted"),
      h(
        "dl",
        {},
        ...line("Cause", run.message || "Its process ended without a word."),
        ...line("What it means", kept),
        ...line("Next", run.may_act ? next : "Its owner can take it up again."),
      ),
      mismatch ? h("a.lab-button", { href: `/adapt?from=${encodeURIComponent(run.run_id)}&trust=1` }, "Duplicate without this check") : null,
    ),
  ];
}
