// Pinned features and their sentence: a run records them at every evaluation, and the tab Replay plays them back.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";

const same = (one, other) => one.release === other.release && one.sae_id === other.sae_id && one.feature === other.feature;

// run: summary with pins, is_yours and may_act; now() -> {text, feature: {release, sae_id, feature} | null}; done(element | null) shows a problem
export function pinButton(run, now, told) {
  const button = h("button.lab-button.quiet.pin", { type: "button", onclick: turn }, "Pin");
  const refusal = run.is_example ? "The example is everybody's: pin features of a run of your own." : "Only the owner of a run can pin its features.";
  let busy = false;

  const pinned = () => {
    const { feature } = now();
    return feature ? (run.pins?.features ?? []).find((one) => same(one, feature)) : null;
  };

  function draw() {
    const is = Boolean(pinned());
    button.textContent = is ? "Pinned ✓" : "Pin";
    button.setAttribute("aria-pressed", String(is));
    button.setAttribute("aria-disabled", String(!run.may_act || busy));
    button.title = !run.may_act ? refusal : is ? "Recorded with this sentence. Press to take the pin off." : "Record this feature on this text while the run trains, or in its next run";
  }

  async function turn() {
    if (busy) return;
    if (!run.may_act) return told(h("p.lab-note", { role: "status" }, refusal));
    const { text, feature } = now();
    const others = (run.pins?.features ?? []).filter((one) => !same(one, feature));
    const pins = { text, features: pinned() ? others : [...others, feature] };
    busy = true;
    draw();
    try {
      const answer = await ask(runAddress(run.run_id, "/pins"), { method: "POST", body: pins });
      run.pins = answer.pins ?? pins;
      told(h("p.lab-note", { role: "status" }, pinned() ? `Pinned: every evaluation of this run's training, and of the next run made from it, records feature ${feature.feature} on this text.` : "The pin is off."));
    } catch (error) {
      told(problem(error));
    }
    busy = false;
    draw();
  }

  return { element: button, draw };
}
