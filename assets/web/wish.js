// What a live view asks of the Adapt page's form: {pick: SAE} or {set: {setting: value}}. It travels through a text box nobody sees.
let n = 0;

export function wish(what) {
  const box = document.querySelector("#adapt-wish textarea, #adapt-wish input");
  if (!box) return;
  const kind = box.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(box, JSON.stringify({ ...what, n: ++n }));
  box.dispatchEvent(new Event("input", { bubbles: true }));
}
