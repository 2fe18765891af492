// The pinned sentence over the course of training: one frame per evaluation, with the KL under each token and the heat of each pinned
// feature.
import { ask, empty, h, problem, runAddress } from "/lab/assets/dom.js";
import { spark } from "/lab/assets/spark.js";
import { style } from "/lab/assets/style.js";

const FRAME_MS = 700;
const FIRST_REPAIR_PINS = 8; // lorasae/demo/first_repair.py
const nats = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

// An island: props {run}, or the run named in the address. Returns what ends it.
export async function mount(element, props = {}) {
  style("replay");
  const run = props.run ?? new URL(location.href).searchParams.get("run");
  try {
    const film = await ask(runAddress(run, "/replay"));
    if (film.frames?.length) return show(element, run, film);
    element.replaceChildren(nothingYet(run, film.text));
  } catch (error) {
    element.replaceChildren(problem(error));
  }
  return () => {};
}

function nothingYet(run, text) {
  const inspect = `/inspect?run=${encodeURIComponent(run)}`;
  if (text) return empty(`“${text}” is pinned. Every evaluation while a run trains adds one frame; this run has none so far.`, null);
  return empty(
    "Nothing is pinned to this run. Pin a sentence and a few features while you look inside: every evaluation from then on is recorded, and this slider plays it back.",
    { href: inspect, text: "Look inside and pin" },
  );
}

function show(element, run, { text, tokens, frames }) {
  const scales = {
    kl: Math.max(1e-6, ...frames.flatMap(({ kl }) => kl.filter((value) => value !== null))),
    pins: (frames[0].pins ?? []).map((_, i) => largest(frames, i)),
  };
  const means = frames.map(({ kl }) => mean(kl));
  let [at, playing, token] = [Math.min(Number(element.dataset.frame || frames.length - 1), frames.length - 1), null, null];
  const slider = h("input.replay-slider", {
    type: "range",
    min: 0,
    max: frames.length - 1,
    step: 1,
    value: at,
    "aria-label": "Training step",
    oninput: () => choose(Number(slider.value)),
  });
  const button = h("button.lab-button", { type: "button", onclick: () => (playing ? pause() : play()) }, "▶ Play");
  const label = h("output.lab-number.replay-step");
  const curve = h("span");
  const card = h("p.replay-card.lab-number", { role: "status" });
  const rows = [
    row("KL to the original", tokens, paintKl),
    ...frames[0].pins.map((pin, i) => row(`Feature ${pin.feature}`, tokens, paintPin(i), pin)),
  ];
  element.replaceChildren(
    h(
      "div.replay.lab-stack",
      {},
      h("div.replay-tools", {}, button, slider, label, curve),
      ...rows.map((each) => each.element),
      card,
      frames[0].pins.length === FIRST_REPAIR_PINS
        ? h("p.lab-note.replay-whose", {}, "Pins you never made? The first repair, which the example shows too, pins eight features by itself. They are of the SAE above, because the features of the SAE in the stream cannot change.")
        : null,
      h(
        "p.lab-note",
        {},
        "The underline is how far each prediction is from the original model's: thick means that the SAE still hurts there. All frames share one scale.",
      ),
    ),
  );
  go(at);

  function paintKl(span, i) {
    const value = frames[at].kl[i];
    const share = value === null || value === undefined ? 0 : Math.min(1, value / scales.kl);
    span.style.setProperty("--kl", `${Math.round(6 * Math.sqrt(share))}px`);
    return `KL ${nats(value)}`;
  }

  function paintPin(pin) {
    return (span, i) => {
      const value = frames[at].pins[pin]?.acts[i] ?? 0;
      span.style.setProperty("--heat", value > 0 ? (0.08 + 0.72 * Math.log10(1 + (9 * value) / scales.pins[pin])).toFixed(3) : 0);
      return nats(value);
    };
  }

  function row(title, texts, paint, pin) {
    const spans = texts.map((text, i) =>
      h(
        "button.replay-token",
        { type: "button", tabindex: i ? -1 : 0, onfocus: () => look(i), onmouseenter: () => look(i), onclick: () => look(i) },
        visible(text),
      ),
    );
    const line = h("div.replay-line", { role: "group", "aria-label": title, onkeydown: walk(spans) }, ...spans);
    const repaint = () =>
      spans.forEach((span, i) => {
        span.setAttribute("aria-label", `${visible(texts[i])}: ${paint(span, i)}`);
        span.toggleAttribute("data-looked", token === i);
      });
    return { element: h("div.replay-row", {}, heading(title, pin), line), repaint };
  }

  // A feature's name leads to its page, on this text.
  function heading(title, pin) {
    if (!pin) return h("h3", {}, title);
    const { release, sae_id, feature } = pin;
    const address = `/inspect?${new URLSearchParams({ run, release, sae_id, text, feature, tab: "feature" })}`;
    return h("h3", {}, h("a", { href: address }, title), h("small.lab-note", {}, ` ${pin.hook_point ?? sae_id}`));
  }

  function walk(spans) {
    return (event) => {
      const here = spans.indexOf(event.target);
      const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: spans.length - 1 }[event.key];
      if (there === undefined || !spans[there]) return;
      event.preventDefault();
      [spans[here].tabIndex, spans[there].tabIndex] = [-1, 0];
      spans[there].focus();
    };
  }

  function look(i) {
    token = i;
    repaint();
  }

  // A frame somebody has chosen stays when the film grows.
  function choose(frame) {
    element.dataset.frame = frame === frames.length - 1 ? "" : frame;
    go(frame);
  }

  function go(frame) {
    at = frame;
    slider.value = at;
    slider.setAttribute("aria-valuetext", `step ${frames[at].step}, mean KL ${nats(means[at])}`);
    label.textContent = `step ${frames[at].step.toLocaleString("en")} · mean KL ${nats(means[at])}`;
    curve.replaceChildren(spark(means, "Mean KL over the frames", { width: 110, height: 28, at, smooth: 0 }));
    repaint();
  }

  function repaint() {
    for (const each of rows) each.repaint();
    card.textContent = token === null ? "Point at a token, or move with the arrow keys, to read its numbers." : told();
  }

  function told() {
    const [first, here] = [frames[0], frames[at]];
    const pins = here.pins.map((pin, i) => `feature ${pin.feature}: ${nats(first.pins[i].acts[token])} → ${nats(pin.acts[token])}`);
    return [`“${visible(tokens[token])}”`, `KL ${nats(first.kl[token])} → ${nats(here.kl[token])}`, ...pins].join(" · ");
  }

  function play() {
    if (at === frames.length - 1) go(0);
    button.textContent = "‖ Pause";
    playing = setInterval(() => (at === frames.length - 1 ? pause() : go(at + 1)), FRAME_MS);
  }

  function pause() {
    clearInterval(playing);
    playing = null;
    button.textContent = "▶ Play";
  }
  return pause;
}

const largest = (frames, pin) => Math.max(1e-6, ...frames.flatMap(({ pins }) => pins[pin]?.acts ?? []));
const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥") || " ";

function mean(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}
