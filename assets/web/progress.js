// What a run is doing: its state as a chip, its phase in words, the bar, the time left, and a summary for those who listen.
import { duration, h } from "/lab/assets/dom.js";

const STATES = {
  created: "Created",
  queued: "Queued",
  running: "Running",
  stopping: "Stopping…",
  succeeded: "Finished",
  stopped: "Stopped, kept",
  failed: "Failed",
  interrupted: "Interrupted",
};
const PHASES = {
  waiting: "Waiting to start",
  queued: "Waiting for its turn",
  downloading: "Fetching the model and its SAE",
  loading: "Loading the model and its SAE",
  reading: "Reading the text",
  measuring: "Measuring what the SAE costs",
  training: "Training the adapter",
  evaluating: "Measuring all four conditions",
  saving: "Saving the adapter and the result",
};
const ICONS = { queued: "◷", created: "◷", running: "●", stopping: "●", succeeded: "✓", stopped: "✓", failed: "✕", interrupted: "‖" };
const EARLY = 0.1; // of the steps: before that an estimate is rough

export const isBusy = (state) => ["created", "queued", "running", "stopping"].includes(state);

export const stateWord = (state) => STATES[state] ?? state;

export const stateChip = ({ state }) => h("span.lab-chip", { "data-state": state }, stateWord(state));

export function doing({ state, phase, position }) {
  if (state === "queued") return position > 0 ? `Queued, ${position} ahead` : "Queued, next in line";
  if (state === "stopping") return "Stopping after this step; what is learnt is saved and measured";
  return isBusy(state) ? (PHASES[phase] ?? phase) : stateWord(state);
}

export const part = ({ step, n_steps }) => (n_steps ? Math.min(1, step / n_steps) : 0);

// The name its owner gave it, or else what the lab calls it.
export const called = ({ name, title }) => name || title;

// The tab tells how far a run is.
export function tabTitle(run, gapClosed) {
  if (run.state === "running" || run.state === "stopping") return `● ${Math.round(100 * part(run))} % ${called(run)}`;
  const mark = run.state === "succeeded" && gapClosed ? `✓ ${gapClosed}` : (ICONS[run.state] ?? "");
  return `${mark} ${called(run)}`;
}

// -> {element, update(run)}
export function progress() {
  const chip = h("span.lab-chip");
  const time = h("span.lab-note.lab-number");
  const bar = h("progress.progress-bar", { max: 1, "aria-label": "Steps done" });
  const spoken = h("p.lab-visually-hidden", { role: "status" });
  const element = h("div.progress", {}, h("div.progress-line", {}, chip, time), bar, spoken);
  let said = "";

  function update(run) {
    const done = part(run);
    const busy = isBusy(run.state);
    chip.dataset.state = run.state;
    chip.textContent = `${doing(run)}${ofPhase(run)}`;
    time.textContent = timeLeft(run, done);
    bar.hidden = !busy;
    if (run.state === "running" && run.step === 0) bar.removeAttribute("value");
    else bar.value = done;
    const quarter = run.phase === "training" ? `, ${Math.floor(4 * done) * 25} %` : "";
    const summary = busy ? `${doing(run)}${quarter}` : stateWord(run.state);
    if (summary !== said) spoken.textContent = said = summary; // only what is new is read out
  }
  return { element, update };
}

// Phases other than training tell how far they are themselves.
function ofPhase({ state, phase, fraction }) {
  const told = (state === "running" || state === "stopping") && phase !== "training" && fraction !== null && fraction !== undefined;
  return told ? `, ${Math.round(100 * fraction)} %` : "";
}

function timeLeft({ state, phase, step, n_steps, eta_s }, done) {
  const steps = n_steps ? `step ${step.toLocaleString("en")} of ${n_steps.toLocaleString("en")}` : "";
  if (!isBusy(state)) return steps;
  if (state === "queued" || !step) return "";
  const untold = eta_s === null || eta_s === undefined || (state === "stopping" && phase === "training"); // that time is for all steps
  const left = untold ? "" : ` · about ${duration(eta_s)} left${done < EARLY ? ", rough early on" : ""}`;
  return `${steps}${left}`;
}
