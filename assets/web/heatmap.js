// A text in three panes, original + SAE | adapted + SAE | change: tint = a feature's activation (or KL), underline = KL to the original.
import { h } from "/lab/assets/dom.js";
import { isAside, opacity, signed, value } from "/lab/assets/inspect_words.js";
import { breaksAfter, partWords, tokenText } from "/lab/assets/token_text.js";

const PANES = [
  { key: "before", title: "Original + SAE" },
  { key: "after", title: "Adapted + SAE" },
  { key: "change", title: "Change" },
];
const THICKEST_PX = 6;

// on: {select(index, how), hover(index | null)}; how is "pointer" or "keys".
export function heatmap(tokens, on) {
  const panes = PANES.map(({ key, title }) => pane(key, title, tokens, on));
  const element = h("div.heat", {}, ...panes.map((one) => one.element));
  let hovered = null;

  // what: {kind: "feature" | "kl", name, before: [..], after: [..], own: each pane its own scale, specials: bool}
  function paint(what) {
    const counted = tokens.map((token) => what.specials || !isAside(token));
    const largest = scales(what, counted);
    const kl = tokens.map(({ kl_before, kl_after }) => [kl_before, kl_after, kl_after - kl_before]);
    const worst = Math.max(1e-6, ...kl.map(([before, after], i) => (counted[i] ? Math.max(before, after) : 0)));
    const shown = { before: what.before, after: what.after, change: what.before.map((before, i) => what.after[i] - before) };
    panes.forEach((one, column) => one.paint(shown[one.key], largest[one.key], kl.map((row) => row[column]), worst, counted, what));
    element.dataset.kind = what.kind;
    return largest;
  }

  function mark(index, name) {
    for (const one of panes) one.mark(index, name);
  }

  return {
    element,
    paint,
    // Outlines the token in all panes and makes it the one that Tab reaches.
    choose(index, { focus = false } = {}) {
      mark(index, "chosen");
      panes.forEach((one) => one.rove(index ?? 0));
      if (focus && index !== null) panes[0].focus(index);
    },
    hover(index) {
      if (hovered !== index) mark((hovered = index), "hovered");
    },
    // Into the window, if it is not there: in the pane that has the focus, else in the first.
    reveal(index) {
      (panes.find((one) => one.element.contains(document.activeElement)) ?? panes[0]).reveal(index);
    },
  };
}

// The value at which the tint is full, pane by pane.
function scales({ before, after, own }, counted) {
  const top = (values) => Math.max(0, ...values.map((x, i) => (counted[i] ? Math.abs(x) : 0)));
  const change = top(before.map((x, i) => after[i] - x));
  const shared = Math.max(top(before), top(after));
  return own ? { before: top(before), after: top(after), change } : { before: shared, after: shared, change: shared };
}

function pane(key, title, tokens, on) {
  const spans = tokens.map((token, index) =>
    h("span.heat-token", { role: "option", tabindex: index ? -1 : 0, "data-index": index, "aria-selected": "false", dir: "auto", title: partWords(token) || null }, tokenText(token.text).replace(/^ (?=\S)/, "")),
  );
  const text = h("div.heat-text", { role: "listbox", "aria-orientation": "horizontal", "aria-label": `${title}: tokens`, dir: "auto" });
  spans.forEach((span, index) => text.append(spaceBefore(tokens[index].text), span, "\n".repeat(breaksAfter(tokens[index].text))));
  const note = h("span.lab-note.lab-number");
  const element = h("section.heat-pane", { "data-pane": key }, h("header", {}, h("h3", {}, title), note), text);
  const indexOf = (event) => {
    const span = event.target.closest?.(".heat-token");
    return span ? Number(span.dataset.index) : null;
  };

  text.addEventListener("pointerover", (event) => event.pointerType === "mouse" && on.hover(indexOf(event)));
  text.addEventListener("pointerleave", () => on.hover(null));
  text.addEventListener("click", (event) => indexOf(event) !== null && on.select(indexOf(event), "pointer"));
  text.addEventListener("keydown", (event) => {
    const here = indexOf(event);
    if (here === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") on.select(here, "pointer");
    else {
      const there = destination(event.key, here, spans);
      if (there === null) return;
      focus(there);
      on.select(there, "keys");
    }
    event.preventDefault();
  });

  const focus = (index) => spans[index].focus();
  let ruledFor = null; // underlines depend on what counts, not on the feature

  function rule(kl, worst, counted, specials) {
    if (ruledFor === specials) return;
    ruledFor = specials;
    spans.forEach((span, index) => {
      const far = counted[index] ? Math.sqrt(Math.min(1, Math.abs(kl[index]) / worst)) * THICKEST_PX : 0;
      span.style.setProperty("--kl", `${far < 0.6 ? 0 : far.toFixed(1)}px`);
      span.dataset.heal = kl[index] < 0 ? "healed" : "worse";
      span.classList.toggle("aside", !counted[index]);
    });
  }

  return {
    key,
    element,
    focus,
    reveal: (index) => spans[index]?.scrollIntoView({ block: "nearest", inline: "nearest" }),
    paint(values, largest, kl, worst, counted, { kind, name, specials }) {
      const changes = key === "change";
      rule(kl, worst, counted, specials);
      spans.forEach((span, index) => {
        const token = tokens[index];
        const counts = counted[index];
        span.style.setProperty("--a", counts ? opacity(Math.abs(values[index]), largest).toFixed(3) : 0);
        span.dataset.sign = values[index] < 0 ? "down" : "up";
        span.setAttribute("aria-label", spoken(token, index, tokens.length, { changes, kind, name, at: values[index], kl: kl[index], counts }));
      });
      note.textContent = paneNote(key, kind, values, kl, counted);
    },
    mark(index, name) {
      for (const span of text.getElementsByClassName(name)) span.classList.remove(name);
      if (name === "chosen") for (const span of spans) span.setAttribute("aria-selected", "false");
      if (index === null || !spans[index]) return;
      spans[index].classList.add(name);
      if (name === "chosen") spans[index].setAttribute("aria-selected", "true");
    },
    rove(index) {
      for (const span of text.querySelectorAll('[tabindex="0"]')) span.tabIndex = -1;
      (spans[index] ?? spans[0]).tabIndex = 0;
    },
  };
}

// The space that starts a word stays outside its tint: lines break there, and words are easier to read.
const spaceBefore = (token) => (/^ \S/.test(token) ? " " : "");

function paneNote(key, kind, values, kl, counted) {
  const mean = (numbers) => numbers.reduce((sum, x, i) => sum + (counted[i] ? x : 0), 0) / Math.max(1, counted.filter(Boolean).length);
  if (kind === "kl") return key === "change" ? `mean KL ${signed(mean(kl))}` : `mean KL ${value(mean(kl))}`;
  const largest = values.reduce((best, x, i) => (counted[i] && Math.abs(x) > Math.abs(best) ? x : best), 0);
  return key === "change" ? `largest ${signed(largest)}` : `peak ${value(largest)}`;
}

function spoken(token, index, n, { changes, kind, name, at, kl, counts }) {
  const number = changes ? signed : value;
  const tint = kind === "feature" ? `${name} ${number(at)}, ` : "";
  return `${[tokenText(token.text).trim(), partWords(token)].filter(Boolean).join(", ")}, token ${index} of ${n - 1}, ${tint}KL ${number(kl)}${counts ? "" : ", special token, not counted"}`;
}

function destination(key, here, spans) {
  const last = spans.length - 1;
  const simple = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last };
  if (key in simple) return Math.min(Math.max(0, simple[key]), last);
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  return onNextLine(key === "ArrowUp" ? -1 : 1, here, spans);
}

// The token nearest in the line above or below, as the eye would go.
function onNextLine(direction, here, spans) {
  const middle = (span) => {
    const box = span.getClientRects()[0] ?? span.getBoundingClientRect();
    return { x: box.left + box.width / 2, y: box.top };
  };
  const from = middle(spans[here]);
  let [best, line] = [here, null];
  let distance = Infinity;
  for (let i = here + direction; i >= 0 && i < spans.length; i += direction) {
    const to = middle(spans[i]);
    if (Math.abs(to.y - from.y) < 4) continue;
    line ??= to.y;
    if (Math.abs(to.y - line) > 4) break;
    if (Math.abs(to.x - from.x) < distance) [best, distance] = [i, Math.abs(to.x - from.x)];
  }
  return best;
}
