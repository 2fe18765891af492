// The four conditions as a picture: the floor is the original model, the ceiling the same model with its SAE, and the marker where we are
// now.
import { h, show, svg } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

const [TOP, BOTTOM, BEYOND] = [44, 208, 22]; // of the gap in the picture; how far outside of it a condition may be drawn
const nats = (value) => show(value, "nats/token");

// -> {element, update({ce_original, ce_original_sae, ce_adapted_sae, ce_adapted})}; a condition not measured yet is null.
export function gapPicture() {
  style("gap");
  const label = (name, x, y) => svg(`text.gap-label.${name}`, { x, y });
  const floor = label("original", 16, BOTTOM + 20);
  const ceiling = label("sae", 16, TOP - 12);
  const now = label("adapted", 164, 5);
  const won = label("small", 80, 0);
  const left = label("small", 80, 0);
  const off = label("adapted", 80, -14);
  const wonBar = svg("rect.gap-won", { x: 20, width: 120 });
  const leftBar = svg("rect.gap-left", { x: 20, width: 120 });
  const marker = svg("g.gap-marker", {}, svg("line", { x1: 14, x2: 152, y1: 0, y2: 0 }), svg("path", { d: "M152 0l9-6v12z" }), now);
  const beside = svg("g.gap-beside", {}, svg("circle", { r: 6 }), off);
  const picture = svg(
    "svg",
    { viewBox: "0 0 440 240", role: "img" },
    svg("line.gap-line.sae", { x1: 0, x2: 440, y1: TOP, y2: TOP }),
    svg("line.gap-line.original", { x1: 0, x2: 440, y1: BOTTOM, y2: BOTTOM }),
    leftBar,
    wonBar,
    ceiling,
    floor,
    won,
    left,
    beside,
    marker,
  );
  const element = h("div.gap", {}, picture);

  function update({ ce_original: low, ce_original_sae: high, ce_adapted_sae: here, ce_adapted: plain }) {
    const measured = low !== null && high !== null;
    picture.toggleAttribute("data-empty", !measured);
    picture.setAttribute("aria-label", inWords({ low, high, here, plain }));
    if (!measured) {
      write(ceiling, "", "the SAE's cost is measured first");
      return;
    }
    const place = (value) =>
      Math.min(BOTTOM + BEYOND, Math.max(TOP - BEYOND, BOTTOM - ((value - low) / (high - low || 1)) * (BOTTOM - TOP)));
    write(ceiling, nats(high), "original + SAE");
    write(floor, nats(low), "original");
    const y = place(here ?? high);
    marker.style.transform = `translateY(${y}px)`;
    write(now, here === null ? "" : nats(here), here === null ? "training has not moved it yet" : "adapted + SAE");
    bar(wonBar, TOP, y);
    bar(leftBar, y, BOTTOM);
    word(won, here === null || here > high ? "" : `won back ${(high - here).toFixed(3)}`, TOP, y);
    word(left, here === null ? `gap ${(high - low).toFixed(3)}` : `left ${(here - low).toFixed(3)}`, y, BOTTOM);
    beside.style.display = plain === null ? "none" : "";
    beside.style.transform = `translate(360px, ${plain === null ? 0 : place(plain)}px)`;
    write(off, plain === null ? "" : nats(plain), "adapted, SAE off");
  }

  return { element, update };
}

function bar(rect, from, to) {
  rect.setAttribute("y", Math.min(from, to));
  rect.setAttribute("height", Math.max(0, to - from));
}

function write(text, number, words) {
  text.replaceChildren(svg("tspan.gap-number", {}, number), number ? ` ${words}` : words);
}

function word(text, words, from, to) {
  text.textContent = to - from < 20 ? "" : words;
  text.setAttribute("y", (from + to) / 2 + 4);
}

function inWords({ low, high, here, plain }) {
  if (low === null || high === null) return "The four conditions: nothing has been measured yet.";
  const parts = [`Cross-entropy of the original model ${nats(low)}`, `with its SAE ${nats(high)}`];
  if (here !== null) parts.push(`adapted with the SAE ${nats(here)}`);
  if (plain !== null) parts.push(`adapted without the SAE ${nats(plain)}`);
  return `${parts.join(", ")} nats per token. Lower is better.`;
}
