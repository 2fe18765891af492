// What a run will take: time, memory, steps. First reckoned, then measured on this machine when that is wanted and possible.
import { ago, ask, duration, h, show } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

const LONG_S = 86400; // a run of a day or more is warned of
const IDLE_MS = 3000; // nothing was ever measured here: measure by itself, once the form has come to rest
const STATES = { fits: "succeeded", tight: "running", "does not fit": "failed" };
let underway = null; // this page's measurement: {key, done}; a change in the form draws this view anew, the measurement goes on
let opened = false;
let tried = false; // by itself a page measures once

export async function mount(element, { problem, forecast, config }) {
  await style("adapt");
  const card = h("section.lab-card.lab-stack.estimate", { "aria-label": "What it will take" });
  element.append(card);
  if (problem) {
    card.append(h("h2", {}, "What it will take"), h("p.lab-note", {}, problem));
    return;
  }
  const key = JSON.stringify(config);
  let gone = false;
  let waiting = null;

  const draw = (sentence = null) => gone || card.replaceChildren(...content(forecast, { tokens: config?.train.tokens, measuring: underway?.key === key, sentence, measure }));

  function measure() {
    clearTimeout(waiting);
    tried = true;
    const asked = ask("/lab/estimate/measure", { method: "POST", body: { config } });
    underway = { key, done: asked.catch(() => {}).then(() => (underway = null)) };
    draw();
    underway.done.then(() => asked.then(take, (error) => draw(error.message)));
  }

  function take(found) {
    forecast = found;
    draw();
  }

  // Another setting was being measured: what that showed about this machine's speed counts here too.
  async function again() {
    if (gone) return;
    try {
      take(await ask("/lab/estimate", { method: "POST", body: { config } }));
    } catch {
      draw();
    }
  }

  function measureWhenIdle() {
    if (!gone && !tried && !forecast.unknown && forecast.known_from === "assumed" && !forecast.cannot_measure) waiting = setTimeout(measure, IDLE_MS);
  }

  draw();
  if (underway) underway.done.then(again);
  else if (opened) measureWhenIdle();
  else {
    opened = true; // what came with the page was reckoned when the lab started: runs may have shown more since
    again().then(measureWhenIdle);
  }
  return () => {
    gone = true;
    clearTimeout(waiting);
  };
}

function content(known, { tokens, measuring, sentence, measure }) {
  const steps = `${amount(known.n_steps)} steps of ${amount(known.tokens_per_step)} tokens: ${amount(known.tokens)} tokens`;
  const title = h("h2", {}, "What it will take");
  if (known.unknown) return [title, h("p", {}, steps + "."), ...fetching(known.download), h("p.lab-note", {}, known.unknown)].filter(Boolean);
  const { memory, time } = known;
  const needed = memory.measured_bytes ?? memory.reckoned_bytes;
  return [
    h("div.estimate-head", {}, title, h("span.lab-chip", { "data-state": STATES[memory.verdict] }, memory.verdict)),
    h(
      "div.estimate-numbers",
      { "aria-live": "polite" },
      number(`${known.known_from === "assumed" ? "≈ " : ""}${spelled(time.total_s)}`, "time"),
      number(show(needed, "bytes"), `of ${show(memory.there_is_bytes, "bytes")} memory`),
      number(amount(known.n_steps), "steps"),
    ),
    ...fetching(known.download),
    memory.change ? h("p.lab-problem", {}, `It does not fit. ${memory.change}.`) : null,
    memory.verdict === "does not fit" && !memory.change
      ? h("p.lab-problem", {}, "It does not fit, not even one sequence at a time, and half precision would not make it. Choose a smaller model, a narrower SAE or a lower rank.")
      : null,
    known.micro_batch_that_fits < known.micro_batch_size
      ? h("p.lab-note", {}, `${amount(known.micro_batch_size)} sequences at once would not fit. The run takes as many as fit by itself, here about ${amount(known.micro_batch_that_fits)}; the result is the same.`)
      : null,
    known.tokens > tokens ? h("p.lab-note", {}, `One step reads ${show(known.tokens_per_step, "tokens")} tokens, so the run trains on these, not on ${show(tokens, "tokens")}.`) : null,
    time.total_s >= LONG_S ? h("p.adapt-warning", { role: "status" }, `This run takes ${spelled(time.total_s)} on this machine. Fewer training tokens make it shorter.`) : null,
    h("p.lab-note", {}, provenance(known)),
    measuring
      ? h("p.estimate-measuring", { role: "status" }, "Measuring a few steps on this machine: some 20 seconds. You can go on, or start right away.")
      : known.known_from === "measured"
        ? null
        : h("div.lab-row", {}, h("button.lab-button", { type: "button", disabled: Boolean(known.cannot_measure), onclick: measure }, "Measure these settings here"), h("span.lab-note", {}, sentence || known.cannot_measure || "Takes some 20 seconds.")),
    h("details.lab-more", {}, h("summary", {}, "In detail"), h("p.lab-note", {}, `${steps}; ${known.n_evaluations} evaluations on the way.`), timeTable(known), memoryTable(memory)),
  ].filter(Boolean);
}

// Seconds in the largest unit that says enough, up to years.
function spelled(seconds) {
  const days = seconds / 86400;
  if (days < 2) return duration(seconds);
  if (days < 730) return `${Math.round(days)} days`;
  return `${amount(Math.round(days / 365))} years`;
}

// A count that stays readable and on one line: 15,000, 976.6 million.
const amount = (n) => (n < 1e7 ? n.toLocaleString("en") : new Intl.NumberFormat("en", { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 }).format(n));

const number = (value, words) => h("div", {}, h("strong.lab-number", {}, value), h("span.lab-note", {}, words));

// What the Hub has to send first, and whether it wants to know who asks. Nothing is said of runs that need no Hub.
function fetching({ parts, to_fetch_bytes, n_unknown, gated, gate }) {
  const left = parts.filter(({ here }) => !here);
  const size = ({ n_bytes }) => (n_bytes === null ? "size not known" : show(n_bytes, "bytes"));
  const list = left.map((part) => `${part.what} ${size(part)}`).join(", ");
  const total = left.length > 1 && !n_unknown ? `about ${show(to_fetch_bytes, "bytes")} (${list})` : `about ${list}`;
  const cached = left.length && left.length < parts.length ? ` On this machine already: ${parts.filter(({ here }) => here).map(({ what }) => what).join(", ")}.` : "";
  const line = left.length ? `To fetch from the Hub first: ${total}.${cached}` : gate ? "Model and SAE are on this machine already: nothing to fetch." : null;
  const modelLeft = left.some(({ what }) => what === "model");
  return [
    line && h("p.lab-note.estimate-fetch", {}, line),
    gated && modelLeft
      ? h("p.lab-note.estimate-gate", {}, h("span.lab-chip", {}, "gated"), " The Hub gives this model to people who signed in and ", h("a", { href: gate, target: "_blank", rel: "noopener" }, "accepted its licence"), ".")
      : null,
  ];
}
const runNamed = ({ measured_in: { name, own } }) => (own ? `your run “${name}”` : "a run of this lab");

function provenance(known) {
  if (known.measured_in && known.known_from === "measured") return `Time and memory as measured in ${runNamed(known)}, with these settings, ${ago(known.measured)}.`;
  if (known.measured_in) return `Calculated for these settings, at the speed measured in ${runNamed(known)} (${known.measured_of}, ${ago(known.measured)}).`;
  if (known.known_from === "measured") return `Time and memory measured on this machine with these very settings, ${ago(known.measured)}.`;
  if (known.known_from === "measured elsewhere")
    return `Calculated for these settings, at the speed this machine showed with other ones (${known.measured_of}, ${ago(known.measured)}).`;
  return "Calculated for these settings, at a speed assumed for this kind of machine: no speed has been measured here yet.";
}

const row = (label, value, share) =>
  h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, h("span.estimate-bar", { style: `width:${Math.max(1, Math.round(100 * share))}%` })), h("td.lab-number", {}, value));

function timeTable({ time, tokens_per_s }) {
  const parts = [
    ["starting and loading", time.start_s],
    [`training at ${show(tokens_per_s, "tokens/s")} tokens/s`, time.training_s],
    ["evaluations", time.evaluating_s],
  ];
  return h("table.lab-table.estimate-table", {}, h("caption", {}, "Time"), h("tbody", {}, parts.map(([label, seconds]) => row(label, spelled(seconds), seconds / time.total_s))));
}

function memoryTable(memory) {
  const rows = memory.parts.map(({ label, bytes }) => row(label, show(bytes, "bytes"), bytes / memory.reckoned_bytes));
  const measured = memory.measured_bytes ? `, measured ${show(memory.measured_bytes, "bytes")}` : "";
  const caption = `Memory: calculated ${show(memory.reckoned_bytes, "bytes")}${measured}, of ${show(memory.there_is_bytes, "bytes")} (${memory.where})`;
  return h("table.lab-table.estimate-table", {}, h("caption", {}, caption), h("tbody", {}, rows));
}
