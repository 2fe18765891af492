// The heading of the Adapt page.
import { h } from "/lab/assets/dom.js";
import { style } from "/lab/assets/style.js";

export async function mount(element) {
  await style("adapt");
  element.append(
    h("h1", {}, "Adapt a model to its SAE"),
    h(
      "p.lab-lead",
      {},
      "Choose a model, the place where a sparse autoencoder is put into it, and how long to train. Nothing starts before you press the button.",
    ),
  );
}
