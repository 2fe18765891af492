// A run among others: name, state, headline number, curve and age. It is changed in place, so that a focus or a name being typed stays.
import { ago, duration, h } from "/lab/assets/dom.js";
import { askToDelete, nameField } from "/lab/assets/actions.js";
import { called, doing, isBusy, part, stateChip } from "/lab/assets/progress.js";
import { spark } from "/lab/assets/spark.js";
import { LEARNED, LEARNED_IN_SHORT, hasLearned, told } from "/lab/assets/words.js";

// on: {select(runId, chosen), gone(runId), changed(runId, part)} -> {element, update(run)}
export function runCard(run, chosen, on) {
  const page = `/run?run=${encodeURIComponent(run.run_id)}`;
  const box = h("input", { type: "checkbox", checked: chosen, onchange: () => on.select(run.run_id, box.checked) });
  const name = h("div.run-card-name");
  const chip = h("span");
  const settings = h("p.lab-note.run-card-settings");
  const number = h("p.run-card-number.lab-number");
  const words = h("p.lab-note");
  const curve = h("div.run-card-curve");
  const bar = h("progress.progress-bar", { max: 1, "aria-label": "Steps done" });
  const age = h("span.lab-note");
  const remove = h("button.lab-button.quiet", { type: "button" }, "Delete…");
  const element = h(
    "article.lab-card.run-card",
    {},
    h(
      "div.run-card-head",
      {},
      h("label.run-card-box", {}, box, h("span.lab-visually-hidden", {}, `Select ${called(run)} for comparison`)),
      name,
      chip,
    ),
    settings,
    h("div.run-card-middle", {}, h("div", {}, number, words), curve),
    bar,
    h(
      "div.run-card-foot",
      {},
      age,
      h(
        "span.run-card-actions",
        {},
        h("a.lab-button.quiet", { href: `/adapt?from=${encodeURIComponent(run.run_id)}` }, "Duplicate"),
        remove,
      ),
    ),
  );
  let [shownName, shownCurve] = [null, null];

  function update(now) {
    run = now;
    const busy = isBusy(run.state);
    if (shownName !== called(run)) {
      shownName = called(run);
      name.replaceChildren(nameField(run, (change) => on.changed(run.run_id, change), { tag: "h3", link: page }));
    }
    chip.replaceChildren(stateChip(run));
    settings.textContent = run.settings;
    const closed = run.headline.gap_closed;
    number.textContent = closed ? told(closed.value, "fraction") : "–";
    words.textContent = closed
      ? `of the gap closed${busy ? " so far" : ""}${closed.standard_error ? `, ±\u00a0${(100 * closed.standard_error).toFixed(1)}` : ""}`
      : run.state === "failed"
        ? "failed before it was measured"
        : "not measured yet";
    if (hasLearned(closed?.value)) words.textContent += `. ${LEARNED_IN_SHORT}`;
    words.title = hasLearned(closed?.value) ? LEARNED : "";
    if (shownCurve !== JSON.stringify(run.spark)) {
      shownCurve = JSON.stringify(run.spark);
      curve.replaceChildren(spark(run.spark, "KL on training text"), h("span.lab-note", { "aria-hidden": "true" }, "KL, training"));
    }
    bar.hidden = !busy;
    bar.value = part(run);
    age.textContent = busy ? busyWords(run) : run.is_example ? "comes with the lab" : ago(run.updated || run.created);
    age.title = new Date(run.created).toLocaleString();
    remove.hidden = !run.may_act || busy;
    remove.setAttribute("aria-label", `Delete ${called(run)}`);
  }
  remove.addEventListener("click", () => askToDelete(run, () => on.gone(run.run_id)));
  update(run);
  return { element, update };
}

function busyWords(run) {
  const left = run.eta_s ? ` · about ${duration(run.eta_s)} left` : "";
  return run.phase === "training" && run.state === "running" ? `${Math.round(100 * part(run))} %${left}` : doing(run);
}
