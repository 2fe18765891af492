// Keeps the address bar in step with the Adapt form, so that a link restores it.
import { remember } from "/lab/assets/dom.js";

export const mount = (_element, { parameters }) => remember(parameters);
