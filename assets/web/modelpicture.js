// The model as a column of layers: where the SAE sits, which layers are adapted, what stays original. Words beside it say the same.
import { h, svg } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

const [X, WIDTH] = [64, 150];

export async function mount(element, props) {
  await style("adapt");
  element.append(
    h("section.lab-card.lab-stack", { "aria-label": "The model" }, props.unknown ? h("p.lab-note", {}, props.unknown) : [column(props), h("p.adapt-caption", { "aria-live": "polite" }, props.caption)]),
  );
}

function column({ title, n_layers, saes, adapted, caption }) {
  const pitch = Math.max(9, Math.min(30, 300 / n_layers));
  const gap = pitch > 16 ? 4 : 1.5;
  const top = 40;
  const bottom = top + n_layers * pitch;
  const y = (layer) => bottom - (layer + 1) * pitch; // upper edge of a layer
  const middle = X + WIDTH / 2;
  const every = Math.ceil(18 / pitch);
  const isAdapted = (layer) => adapted.includes(layer);
  const layers = Array.from({ length: n_layers }, (_, layer) => [
    svg("rect", { class: isAdapted(layer) ? "picture-layer adapted" : "picture-layer", x: X, y: y(layer) + gap / 2, width: WIDTH, height: pitch - gap, rx: Math.min(6, pitch / 4) }),
    layer % every === 0 || layer === n_layers - 1
      ? svg("text.picture-number", { x: X - 12, y: y(layer) + pitch / 2 + 4, "text-anchor": "end" }, layer)
      : null,
    pitch > 20 && isAdapted(layer) ? svg("text.picture-inside", { x: middle, y: y(layer) + pitch / 2 + 4, "text-anchor": "middle" }, "LoRA") : null,
  ]);
  return svg(
    "svg.picture",
    { viewBox: `0 0 440 ${bottom + 46}`, role: "img", "aria-label": `${title}: ${caption}` },
    svg("line.picture-stream", { x1: middle, x2: middle, y1: 22, y2: bottom + 22 }),
    svg("text.picture-end", { x: middle, y: 14, "text-anchor": "middle" }, "next token"),
    svg("text.picture-end", { x: middle, y: bottom + 38, "text-anchor": "middle" }, "text"),
    svg("text.picture-number", { x: X - 12, y: top - 8, "text-anchor": "end" }, "layer"),
    layers,
    spans(n_layers, isAdapted).map(([first, last, is]) => bracket(y(last) + gap / 2, y(first) + pitch - gap / 2, is)),
    saes.map((sae) => saeMark(sae, y, pitch, middle)),
  );
}

// Neighbouring layers of one kind: [first, last, adapted].
function spans(n, isAdapted) {
  const found = [];
  for (let layer = 0; layer < n; layer++) {
    const open = found.at(-1);
    if (open && open[2] === isAdapted(layer)) open[1] = layer;
    else found.push([layer, layer, isAdapted(layer)]);
  }
  return found;
}

function bracket(from, to, isAdapted) {
  const x = X + WIDTH + 12;
  const words = isAdapted ? "original + adapter" : "original";
  return svg(
    `g.picture-span${isAdapted ? ".adapted" : ""}`,
    {},
    svg("path", { d: `M${x} ${from + 1}h6V${to - 1}h-6` }),
    to - from > 12 ? svg("text", { x: x + 16, y: (from + to) / 2 + 4 }, words) : null,
  );
}

function saeMark({ layer, site }, y, pitch, middle) {
  const at = site === "after the layer" ? y(layer) : site === "before the layer" ? y(layer) + pitch : y(layer) + pitch / 2;
  const side = X + WIDTH + 150;
  return svg(
    "g.picture-sae",
    {},
    svg("line", { x1: X - 4, x2: side, y1: at, y2: at }),
    svg("rect", { x: middle - 7, y: at - 7, width: 14, height: 14, transform: `rotate(45 ${middle} ${at})` }),
    svg("rect", { x: side, y: at - 11, width: 56, height: 22, rx: 11 }),
    svg("text", { x: side + 28, y: at + 4, "text-anchor": "middle" }, "SAE"),
  );
}
