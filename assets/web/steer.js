// Steering: one feature pushed up or down while both models go on writing, {original, adapted} × {plain, steered}, with the same seed.
import { h, problem, remember, runAddress } from "/lab/assets/dom.js";
import { signed, value } from "/lab/assets/inspect_words.js";
import { differing } from "/lab/assets/words_changed.js";

const LANES = [
  ["original", "Original model"],
  ["adapted", "Adapted model"],
];
const STRONGEST = 2; // in typical maxima
const KEPT = ["prompt", "strength", "n_tokens", "temperature", "seed", "with_sae"];
const FIRST = { prompt: "", strength: "0.25", n_tokens: "40", temperature: "0", seed: "0", with_sae: "1" };

// on: {prompt(): what to start from}
export function steerView(on) {
  const address = new URL(location.href).searchParams;
  const asked = (name) => address.get(name) ?? FIRST[name];
  const prompt = h("textarea", { rows: 2, maxlength: 4000, id: "steer-prompt", spellcheck: "false" });
  const strength = h("input", { type: "range", min: -STRONGEST, max: STRONGEST, step: 0.05, value: asked("strength"), id: "steer-strength", "aria-describedby": "steer-unit" });
  const strengthNumber = h("output.lab-number.steer-strength", { for: "steer-strength" });
  const number = (name, label, attributes) => h("input", { type: "number", id: `steer-${name}`, value: asked(name), "aria-label": label, ...attributes });
  const length = number("n_tokens", "Tokens to write", { min: 1, max: 200, step: 1 });
  const temperature = number("temperature", "Temperature", { min: 0, max: 2, step: 0.1 });
  const seed = number("seed", "Seed", { min: 0, max: 999999, step: 1 });
  const withSae = h("input", { type: "checkbox", id: "steer-with_sae", checked: asked("with_sae") !== "0" });
  const go = h("button.lab-button.primary", { type: "submit" }, "Write");
  const halt = h("button.lab-button", { type: "button", hidden: true, onclick: () => end("Stopped.") }, "Stop");
  const sentence = h("p.steer-sentence");
  const state = h("span.lab-note", { role: "status" });
  const trouble = h("div");
  const verdict = h("p.steer-verdict", { role: "status" });
  const lanes = Object.fromEntries(LANES.flatMap(([model, title]) => ["plain", "steered"].map((how) => [`${model}_${how}`, lane(`${title}, ${how}`)])));
  const form = h(
    "form.lab-card.steer-form",
    {},
    field("steer-prompt", "Start of the text", prompt, "steer-wide"),
    h("div.steer-wide", {}, h("label.inspect-label", { for: "steer-strength" }, "Strength"), h("div.steer-slide", {}, h("span.lab-note", { "aria-hidden": "true" }, "suppress"), strength, h("span.lab-note", { "aria-hidden": "true" }, "push"), strengthNumber), h("p.lab-note", { id: "steer-unit" }, "In multiples of the feature's typical maximum: 1 adds as much as it reaches by itself where it fires most, 0 changes nothing, below 0 takes it away. Some features drown everything else long before 1.")),
    h("div.steer-fields.steer-wide", {}, field("steer-n_tokens", "Tokens to write", length), field("steer-temperature", "Temperature", temperature), field("steer-seed", "Seed", seed), h("label.steer-check", {}, withSae, "SAE in the stream")),
    h("div.lab-row.steer-wide", {}, go, halt, state),
  );
  const restored = Boolean(address.get("prompt") && address.get("feature"));
  const hint = h("p.lab-note.steer-hint", { hidden: !restored }, "A link brings the settings, not the texts. Press ", h("span.lab-chip", {}, "Write"), " to get the same texts: with the same settings and seed the models write the same words.");
  const grid = h(
    "div.steer-grid",
    {},
    ...LANES.flatMap(([model, title]) => ["plain", "steered"].map((how) => h("section.steer-lane", { "data-model": model, "data-how": how }, h("h3", {}, title, h("span.lab-note", {}, how)), lanes[`${model}_${how}`].element))),
  );
  const element = h("div.steer", {}, sentence, form, hint, trouble, verdict, grid, about());
  let [where, feature, source, typical, written] = [null, null, null, null, Boolean(address.get("prompt"))];
  prompt.value = asked("prompt");

  form.addEventListener("input", () => {
    hint.hidden = true; // other settings, other texts
    verdict.replaceChildren();
    written ||= document.activeElement === prompt;
    say();
    keep();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    write();
  });

  function values() {
    return { prompt: prompt.value, strength: strength.value, n_tokens: length.value, temperature: temperature.value, seed: seed.value, with_sae: withSae.checked ? "1" : "0" };
  }
  const keep = () => remember(values());

  function say() {
    const by = Number(strength.value);
    strengthNumber.textContent = `${signed(by, 2)} ×`;
    if (feature === null) return sentence.replaceChildren("Choose a feature in the list to steer by it.");
    const push = `feature ${feature} is ${by > 0 ? "pushed up" : "pushed down"} at every token: its decoder direction, ${signed(by, 2)} times its typical maximum${typical === null ? "" : ` (${value(typical)})`}, is added to the stream at ${where.place}`;
    sentence.replaceChildren(by === 0 ? "At strength 0 both columns write the same." : `In the right column, ${push}. Everything else is the same, the seed included.`);
  }

  function write() {
    trouble.replaceChildren();
    if (feature === null) return say();
    if (!prompt.value) return prompt.focus();
    end("");
    hint.hidden = true;
    for (const one of Object.values(lanes)) one.clear(prompt.value);
    const { run, release, sae_id } = where;
    const open = new EventSource(runAddress(run, `/steer?${new URLSearchParams({ ...values(), feature, release, sae_id })}`));
    source = open;
    keep();
    [go.hidden, halt.hidden, state.textContent] = [true, false, "Writing…"];
    verdict.replaceChildren();
    grid.setAttribute("aria-busy", "true");
    open.addEventListener("start", (event) => {
      typical = JSON.parse(event.data).typical_maximum;
      say();
    });
    open.addEventListener("token", (event) => {
      const { lane: name, text } = JSON.parse(event.data);
      lanes[name]?.add(text);
      compare(name.split("_")[0]);
    });
    open.addEventListener("done", (event) => {
      for (const [name, { ended }] of Object.entries(JSON.parse(event.data))) if (ended) lanes[name]?.finish();
      end("Done.");
      verdict.replaceChildren(...judged());
    });
    open.addEventListener("problem", (event) => {
      trouble.replaceChildren(problem(new Error(JSON.parse(event.data).problem)));
      end("");
    });
    open.addEventListener("error", () => {
      if (source !== open) return;
      trouble.replaceChildren(problem(new Error("The lab stopped answering while it wrote. It may be restarting, or this cannot be steered: try again in a moment.")));
      end("");
    });
  }

  function compare(model) {
    lanes[`${model}_steered`].emphasise(lanes[`${model}_plain`].words());
  }

  // What the push did, when all is written; where it did nothing, how to go on.
  function judged() {
    for (const [model] of LANES) lanes[`${model}_plain`].emphasise(lanes[`${model}_steered`].words());
    const still = LANES.filter(([model]) => lanes[`${model}_plain`].words() === lanes[`${model}_steered`].words());
    if (Number(strength.value) === 0) return [];
    if (!still.length) return ["The words that differ are marked."];
    if (still.length < LANES.length) return [`No word of the ${still[0][0]} model's text changed. In the other the words that differ are marked.`];
    const harder = Math.max(-STRONGEST, Math.min(STRONGEST, 2 * strength.value));
    if (harder === Number(strength.value)) return ["No word changed, even at the strongest push: this feature does not steer this text."];
    return ["No word changed: push harder. ", h("button.lab-button.steer-harder", { type: "button", onclick: () => push(harder) }, `Push harder (${signed(harder, 2)} ×)`)];
  }

  function push(by) {
    strength.value = by;
    write();
  }

  function end(words) {
    source?.close();
    source = null;
    [go.hidden, halt.hidden, state.textContent] = [false, true, words];
    grid.removeAttribute("aria-busy");
  }

  return {
    element,
    // to: {run, release, sae_id, place}
    show(to, chosen) {
      const moved = !where || to.run !== where.run || to.sae_id !== where.sae_id || to.release !== where.release || chosen !== feature;
      if (moved && where && feature !== null) hint.hidden = true;
      [where, feature] = [to, chosen];
      if (moved) {
        end("");
        typical = null;
        verdict.replaceChildren();
        for (const one of Object.values(lanes)) one.clear(null);
      }
      if (!written) prompt.value = on.prompt();
      go.setAttribute("aria-disabled", String(feature === null));
      say();
    },
    keep,
    forget: () => remember(Object.fromEntries(KEPT.map((name) => [name, null]))),
    stop: () => end(""),
  };
}

function lane(name) {
  const element = h("div.steer-text", { dir: "auto", tabindex: 0, role: "region", "aria-label": name });
  let [start, pieces, ended, marks] = [null, [], false, null];
  function draw() {
    if (start === null) return element.replaceChildren(h("span.lab-note", {}, "Nothing written yet."));
    const shown = marks ? marks.map(([word, changed]) => (changed ? h("mark", {}, word) : word)) : [pieces.join("")];
    element.replaceChildren(h("span.steer-prompt", {}, start), ...shown, ended ? h("span.steer-end", { title: "The model ended its text here" }, " ■") : "");
    element.scrollTop = element.scrollHeight;
  }
  draw();
  return {
    element,
    // null: as if nothing had been written
    clear(prompt) {
      [start, pieces, ended, marks] = [prompt, [], false, null];
      draw();
    },
    finish() {
      ended = true;
      draw();
    },
    add(text) {
      pieces.push(text);
      draw();
    },
    words: () => pieces.join(""),
    emphasise(other) {
      if (!pieces.length) return;
      marks = differing(other, pieces.join(""));
      draw();
    },
  };
}

const field = (id, label, input, more = "") => h(`div${more ? `.${more}` : ""}`, {}, h("label.inspect-label", { for: id }, label), input);

const about = () =>
  h(
    "details.lab-more",
    {},
    h("summary", {}, "How this is done"),
    h(
      "div.lab-note.inspect-about",
      {},
      h("p", {}, "At the SAE's hook point, strength × typical maximum × the feature's decoder direction is added to the stream at every token but the special ones. The typical maximum is the feature's largest activation on the first held-out tokens under the original model. With “SAE in the stream” the SAE's reconstruction stands there in all four lanes, as in training; without it, the stream itself."),
      h("p", {}, "The same seed draws the same random numbers in all lanes, so that at temperature 0 or not a difference between the columns comes from steering alone. One pair of texts is an anecdote: try several seeds."),
      h("p", {}, "Marked words are those of one text that are not, in order, in the text beside it (longest common subsequence of words)."),
    ),
  );
