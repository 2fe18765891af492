// The four conditions as a picture: the floor is the original model, the ceiling the same model with its SAE, the marker where we are now.
import { h, svg } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";
import { told } from "/lab/assets/words.js";

const [TOP, BOTTOM] = [40, 206]; // the highest and the lowest place of a condition in the picture
const [ABOVE, BELOW] = [14, 6]; // what a label takes up around its baseline
const [LEFT, RIGHT] = [16, 164]; // where labels begin: on the bar, beside the marker
const OFF_AT = 420; // where the ring stands, right of every label
const nats = (value) => told(value, "nats/token");

// -> {element, update({ce_original, ce_original_sae, ce_adapted_sae, ce_adapted})}; a condition not measured yet is null.
export function gapPicture() {
  style("gap");
  const label = (name, x, y) => svg(`text.gap-label.${name}`, { x, y });
  const floor = label("original", LEFT, BOTTOM + 20);
  const ceiling = label("sae", LEFT, TOP - 12);
  const now = label("adapted", RIGHT, 5);
  const won = label("small", 80, 0);
  const left = label("small", 80, 0);
  const off = label("adapted", 440 - OFF_AT, -14);
  const wonBar = svg("rect.gap-won", { x: 20, width: 120 });
  const leftBar = svg("rect.gap-left", { x: 20, width: 120 });
  const marker = svg("g.gap-marker", {}, svg("line", { x1: 14, x2: 152, y1: 0, y2: 0 }), svg("path", { d: "M152 0l9-6v12z" }), now);
  const beside = svg("g.gap-beside", {}, svg("circle", { r: 6 }), off);
  const saeLine = svg("line.gap-line.sae", { x1: 0, x2: 440, y1: TOP, y2: TOP });
  const originalLine = svg("line.gap-line.original", { x1: 0, x2: 440, y1: BOTTOM, y2: BOTTOM });
  const picture = svg(
    "svg",
    { viewBox: "0 0 440 240", role: "img" },
    saeLine,
    originalLine,
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
    const place = placing(low, high, [here, plain]);
    const [top, bottom, y] = [place(high), place(low), place(here ?? high)];
    for (const [line, at] of [
      [saeLine, top],
      [originalLine, bottom],
    ]) {
      line.setAttribute("y1", at);
      line.setAttribute("y2", at);
    }
    write(ceiling, nats(high), "original + SAE");
    write(floor, nats(low), "original");
    // Labels stand where no line crosses them, and not on the bar where it reaches beyond the gap.
    const lines = [top, bottom];
    const [above, below] = [y < top - 1, y > bottom + 1];
    const nowAt = free(y + 5, lines);
    const ceilingAt = free(top - 8, above ? [...lines, nowAt] : [bottom, top, y]);
    const floorAt = free(bottom + 20, below ? [...lines, nowAt] : [bottom, top, y]);
    set(ceiling, { x: above ? RIGHT : LEFT, y: ceilingAt });
    set(floor, { x: below ? RIGHT : LEFT, y: floorAt });
    set(now, { y: nowAt - y });
    marker.style.transform = `translateY(${y}px)`;
    write(now, here === null ? "" : nats(here), here === null ? "training has not moved it yet" : `adapted + SAE${place.beyond(here)}`);
    bar(wonBar, top, Math.max(top, y));
    bar(leftBar, Math.min(y, bottom), bottom);
    word(won, here === null || here > high ? "" : below ? "the whole gap" : `won back ${(high - here).toFixed(3)}`, top, below ? bottom : y);
    word(left, ...(below ? [`learned ${(low - here).toFixed(3)}`, bottom, y] : [gapLeft(low, high, here), Math.max(top, y), bottom]));
    beside.style.display = plain === null ? "none" : "";
    const dot = plain === null ? 0 : place(plain);
    beside.style.transform = `translate(${OFF_AT}px, ${dot}px)`;
    const taken = [here === null ? [] : [nowAt], above ? [ceilingAt] : [], below ? [floorAt] : []].flat();
    set(off, { y: free(dot - 14, [...lines, dot], taken) - dot });
    write(off, plain === null ? "" : nats(plain), plain === null ? "" : `adapted, SAE off${place.beyond(plain)}`);
  }

  return { element, update };
}

const gapLeft = (low, high, here) => (here === null ? `gap ${(high - low).toFixed(3)}` : `left ${(here - low).toFixed(3)}`);

// -> (value) => its height in the picture. What lies outside of the gap makes room for itself, up to the height of the gap on either side;
// beyond(value) is the mark of what lies still further.
function placing(low, high, others) {
  const exact = (value) => (value - low) / (high - low || 1);
  const share = (value) => Math.min(2, Math.max(-1, exact(value)));
  const shares = [0, 1, ...others.filter((value) => value !== null).map(share)];
  const [least, most] = [Math.min(...shares), Math.max(...shares)];
  const place = (value) => BOTTOM - ((share(value) - least) / (most - least)) * (BOTTOM - TOP);
  const beyond = (value) => (exact(value) > 2 ? " ↑" : exact(value) < -1 ? " ↓" : "");
  return Object.assign(place, { beyond });
}

// The baseline nearest to the wanted one at which a label is crossed by no line and covers no other label.
function free(wanted, lines, labels = []) {
  const clear = (y) =>
    lines.every((line) => line < y - ABOVE || line > y + BELOW) && labels.every((other) => Math.abs(other - y) >= ABOVE + BELOW);
  for (let off = 0; off <= 80; off++)
    for (const y of [wanted - off, wanted + off]) if (y >= ABOVE && y <= 236 && clear(y)) return y;
  return wanted;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
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
