// A run's measurements as columns: {metric: [[step…], [value…]]}, as the lab's routes give them. Pure arithmetic: no page, no network.

// Columns that grow: the history replaces them, rows are added to them as the worker writes them.
export class Series {
  constructor(columns = {}) {
    this.replace(columns);
  }

  replace(columns) {
    this.columns = Object.fromEntries(Object.entries(columns).map(([metric, [steps, values]]) => [metric, [[...steps], [...values]]]));
  }

  // Rows already seen are passed over: after a reconnect the lab may send some of them again.
  add(rows) {
    for (const { step, ...values } of rows) {
      for (const [metric, value] of Object.entries(values)) {
        if (typeof value !== "number") continue;
        const [steps, seen] = (this.columns[metric] ??= [[], []]);
        if (steps.length && step <= steps[steps.length - 1]) continue;
        steps.push(step);
        seen.push(value);
      }
    }
  }

  of(metric) {
    return this.columns[metric] ?? [[], []];
  }

  last(metric) {
    const [, values] = this.of(metric);
    return values.length ? values[values.length - 1] : null;
  }

  get lastStep() {
    return Math.max(0, ...Object.values(this.columns).map(([steps]) => steps[steps.length - 1] ?? 0));
  }

  // Steps at which any of the metrics was measured, in order.
  stepsOf(metrics) {
    return [...new Set(metrics.flatMap((metric) => this.of(metric)[0]))].sort((a, b) => a - b);
  }

  at(metric, step) {
    const [steps, values] = this.of(metric);
    const index = atOrBefore(steps, step);
    return index >= 0 && steps[index] === step ? values[index] : null;
  }
}

// Index of the last entry that is not beyond x; -1 if all are.
export function atOrBefore(sorted, x) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function nearest(sorted, x) {
  const before = atOrBefore(sorted, x);
  if (before < 0) return sorted.length ? 0 : -1;
  return before + 1 < sorted.length && sorted[before + 1] - x < x - sorted[before] ? before + 1 : before;
}

// At most n points of a curve: of each stretch the smallest and the largest, so that no spike is lost.
export function thinned([xs, ys], n) {
  if (xs.length <= n) return [xs, ys];
  const [x, y] = [[], []];
  const stretches = Math.max(1, Math.floor(n / 2));
  for (let stretch = 0; stretch < stretches; stretch++) {
    const from = Math.floor((stretch * xs.length) / stretches);
    const to = Math.floor(((stretch + 1) * xs.length) / stretches);
    let [low, high] = [from, from];
    for (let i = from; i < to; i++) {
      if (ys[i] < ys[low]) low = i;
      if (ys[i] > ys[high]) high = i;
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      x.push(xs[i]);
      y.push(ys[i]);
    }
  }
  return [x, y];
}

// Exponential moving average, without the start's pull towards zero. Gaps count: a point after a long gap owes little to the ones before.
export function smoothed([xs, ys], amount) {
  if (!amount || xs.length < 3) return ys;
  const usual = (xs[xs.length - 1] - xs[0]) / (xs.length - 1) || 1;
  let [sum, weight] = [0, 0];
  return ys.map((y, i) => {
    const keep = i ? amount ** Math.min(50, (xs[i] - xs[i - 1]) / usual) : 0;
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}

// What lies along the x axis. Time is read off the run's own clock, train_s, which not every step of a thinned history carries.
export function xAxis(kind, series, tokensPerStep) {
  if (kind === "tokens") return { label: "tokens", of: (step) => step * tokensPerStep, back: (x) => x / tokensPerStep };
  if (kind === "time") {
    const [steps, seconds] = series.of("train_s");
    const [allSteps, allSeconds] = [
      [0, ...steps],
      [0, ...seconds],
    ];
    return {
      label: "seconds of training",
      of: (step) => between(allSteps, allSeconds, step),
      back: (x) => between(allSeconds, allSteps, x),
    };
  }
  return { label: "step", of: (step) => step, back: (x) => x };
}

function between(from, to, x) {
  const i = Math.min(Math.max(0, atOrBefore(from, x)), from.length - 2);
  if (from.length < 2) return x;
  const width = from[i + 1] - from[i];
  return to[i] + (width ? ((x - from[i]) / width) * (to[i + 1] - to[i]) : 0);
}
