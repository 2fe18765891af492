// The six charts of a run, drawn from its growing series; finer data is fetched where somebody zooms in.
import { ask, h, runAddress } from "/lab/assets/dom.js";
import { charts } from "/lab/assets/charts.js";
import { called } from "/lab/assets/progress.js";
import { Series, xAxis } from "/lab/assets/series.js";
import { CAVEATS, LEARNED, deeper, hasLearned } from "/lab/assets/words.js";

const [PART, ALL] = ["on an eighth of the text", "all of the text"];
const ADAPTED = { colour: "adapted" };
const BEFORE = { label: "before", colour: "sae", dash: "dash" };
const SPECS = [
  {
    key: "kl",
    title: "KL to the original",
    unit: "nats/token",
    fromZero: true,
    caveat: CAVEATS.kl,
    curves: {
      kl_train: { label: "training", colour: "original", smooth: true },
      kl_original_sae: BEFORE,
      kl_adapted_sae: { ...ADAPTED, label: `held-out, ${PART}`, marks: true },
    },
    final: "kl_adapted_sae",
    sentence: "How far predictions with the SAE are from the original's. Lower is better; the dashed line is the SAE as it was.",
  },
  {
    key: "ce_gap",
    title: "CE gap",
    unit: "nats/token",
    fromZero: true,
    caveat: CAVEATS.gap,
    curves: { ce_gap_before: BEFORE, ce_gap_after: { ...ADAPTED, label: PART, marks: true } },
    final: "ce_gap_after",
    sentence: "What the SAE adds to the loss on held-out text. At zero the model would be as good as without SAE.",
  },
  {
    key: "gap_closed",
    title: "Gap closed",
    unit: "fraction",
    fromZero: true,
    caveat: CAVEATS.gap,
    curves: { gap_closed: { ...ADAPTED, label: PART, marks: true } },
    final: "gap_closed",
    sentence:
      "The share of the damage repaired. Evaluations use an eighth of the held-out text, the final number all of it: they may differ.",
  },
  {
    key: "speed",
    title: "Speed",
    unit: "tokens/s",
    fromZero: true,
    caveat: CAVEATS.speed,
    curves: { tokens_per_s: { label: "training", colour: "original" } },
    sentence: "How many tokens this machine trains on per second.",
  },
  {
    key: "memory",
    title: "Peak memory",
    unit: "bytes",
    fromZero: true,
    caveat: CAVEATS.memory,
    curves: { peak_memory_bytes: { label: "largest since it last started", colour: "original" } },
    sentence: "The most memory of the process since it last started: a resume starts a new one, and the curve begins anew.",
  },
  {
    key: "learning_rate",
    title: "Learning rate",
    unit: "",
    fromZero: true,
    caveat: CAVEATS.learningRate,
    curves: { learning_rate: { label: "of this step", colour: "original" } },
    sentence: "How large a step the optimizer takes.",
  },
];

// now() -> the run as it is. -> what charts() gives, and forget(): the history was written anew.
export function runCharts(now, series) {
  let fine = null; // {from, to, series} of the zoomed stretch
  const specs = SPECS.map((spec) => ({ ...spec, more: deeper(Object.keys(spec.curves), spec.caveat) }));
  const axisOf = (kind) => xAxis(kind, series, now().tokens_per_step);
  const file = (name) => runAddress(now().run_id, `/files/${name}`);

  function columns(metric) {
    const whole = series.of(metric);
    const [steps, values] = fine?.series.of(metric) ?? [[], []];
    if (steps.length < 2) return whole;
    const outside = whole[0].map((step, i) => [step, whole[1][i]]).filter(([step]) => step < fine.from || step > fine.to);
    const merged = [...outside, ...steps.map((step, i) => [step, values[i]])].sort(([a], [b]) => a - b);
    return [merged.map(([step]) => step), merged.map(([, value]) => value)];
  }

  // The result, measured on all of the held-out text, stands at the end as a mark of its own.
  function finalOf({ final }) {
    const value = now().results?.[final]?.value ?? null;
    return value === null
      ? []
      : [[final, { label: ALL, colour: "accent-strong", marks: "diamond", points: [[series.lastStep], [value]] }]];
  }

  const learned = () => [...series.of("gap_closed")[1], now().results?.gap_closed?.value].some(hasLearned);
  // The line of the SAE as it was is one of the full measurement until the first evaluation measures a part of the text.
  const labelled = ({ label }) => (label === BEFORE.label && series.of("gap_closed")[0].length ? `${label}, ${PART}` : label);

  const grid = charts(
    specs,
    {
      name: () => called(now()),
      axis: (kind) => axisOf(kind).label,
      sentence: ({ key, sentence }) => (key === "gap_closed" && learned() ? `${sentence} ${LEARNED}` : sentence),
      curves(spec, kind) {
        const axis = axisOf(kind);
        return [...Object.entries(spec.curves), ...finalOf(spec)]
          .map(([metric, curve]) => ({ ...curve, label: labelled(curve), points: curve.points ?? fullWidth(metric, columns(metric), series.lastStep) }))
          .filter(({ points: [steps] }) => steps.length)
          .map(({ points: [steps, values], ...curve }) => ({ ...curve, points: [steps.map(axis.of), values] }));
      },
      async zoomed(range, kind) {
        fine = null;
        if (!range) return;
        const axis = axisOf(kind);
        const [from, to] = [Math.floor(axis.back(range[0])), Math.ceil(axis.back(range[1]))];
        try {
          const answer = await ask(runAddress(now().run_id, `/series?from=${Math.max(0, from)}&to=${to}&points=1500`));
          fine = { from, to: Math.min(to, series.lastStep), series: new Series(answer.series) };
          grid.redraw();
        } catch {
          // the coarse curve stays
        }
      },
    },
    [
      h("span.lab-note", {}, "Export"),
      h("a.lab-button", { href: file("metrics.csv"), download: true }, "CSV"),
      h("a.lab-button", { href: file("metrics.json"), download: true }, "JSON"),
    ],
  );
  return {
    ...grid,
    forget: () => (fine = null),
    // A zoom that came with the address needs its finer data too.
    start: () => grid.view.range && grid.zoomed(grid.view.range),
  };
}

// The cost before adaptation is one number: a line across the whole run. It is the latest one measured, on the text that evaluations use.
function fullWidth(metric, [steps, values], lastStep) {
  if (!steps.length || !["kl_original_sae", "ce_gap_before"].includes(metric)) return [steps, values];
  const value = values[values.length - 1];
  return [
    [0, Math.max(1, lastStep)],
    [value, value],
  ];
}
