// The finished run that comes with the lab, and where it is looked at.
import { ask, runAddress } from "/lab/assets/dom.js";

export const example = () => ask(runAddress("example"));

// At the SAE that its pins are read with, on their text: there features can change.
export function insideExample(run) {
  const pin = run?.pins.features[0];
  const query = new URLSearchParams({ run: "example", ...(pin ? { release: pin.release, sae_id: pin.sae_id, text: run.pins.text } : {}) });
  return `/inspect?${query}`;
}
