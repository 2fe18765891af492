// What to look at: which run, through which SAE, which text. What is typed stays whatever the lab answers.
import { h, show } from "/lab/assets/dom.js";
import { count } from "/lab/assets/inspect_words.js";
import { saePicker } from "/lab/assets/sae_picker.js";
import { sentencesFor } from "/lab/assets/sentences.js";

const LONGEST = 20000; // characters, as the lab takes them

// on: {run(run_id), sae({release, sae_id}), look(text), link()}
export function inputs(on) {
  const runs = h("select", { id: "inspect-run", onchange: () => on.run(runs.value) });
  const picker = saePicker({ choose: on.sae });
  const text = h("textarea", { id: "inspect-text", rows: 2, maxlength: LONGEST, placeholder: "Type or paste any text", spellcheck: "false" });
  const go = h("button.lab-button.primary.inspect-go", { type: "submit" }, "Look inside");
  const ready = h("div.inspect-ready");
  const said = h("p.lab-note.inspect-said", { role: "status" });
  const copied = h("span.lab-note", { role: "status" });
  const copy = h("button.lab-button.quiet", { type: "button", onclick: copyLink, title: "A link that restores this view" }, "Copy link");
  const element = h(
    "form.lab-card.inspect-inputs",
    { "aria-label": "What to look at" },
    h("div.inspect-field.inspect-subject", {}, h("label.inspect-label", { for: "inspect-run" }, "Run"), runs),
    h("div.inspect-field.inspect-subject", {}, picker.element),
    h("div.inspect-field.inspect-words", {}, h("label.inspect-label", { for: "inspect-text" }, "Text"), text, h("div.inspect-actions", {}, go, ready), said),
  );

  let sentences = [];
  const fit = () => {
    text.style.height = "auto";
    text.style.height = `${Math.min(150, text.scrollHeight + 2)}px`;
  };
  function look() {
    if (text.value.trim()) return on.look(text.value);
    said.textContent = "Write a sentence first.";
    text.focus();
  }
  const wasCut = () => (said.textContent = `The text was cut: only the first ${count(LONGEST)} characters are kept.`);
  text.addEventListener("input", () => {
    if (text.value.length < LONGEST) said.textContent = "";
    fit();
  });
  // The field itself cuts what is too long, without a word.
  text.addEventListener("paste", (event) => {
    const pasted = event.clipboardData?.getData("text/plain").replaceAll("\r\n", "\n").length ?? 0;
    if (text.value.length - (text.selectionEnd - text.selectionStart) + pasted > LONGEST) wasCut();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    look();
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    look();
  });

  async function copyLink() {
    on.link();
    try {
      await navigator.clipboard.writeText(location.href);
      copied.textContent = "Copied.";
    } catch {
      copied.textContent = "Copy it from the address bar."; // no clipboard here; the address is the link
    }
    setTimeout(() => (copied.textContent = ""), 4000);
  }

  return {
    element,
    share: h("span.inspect-share", {}, copied, copy),
    text: () => text.value,
    // cards of the finished runs, the example, and the run that is open: a link may lead to one that is in no list of ours
    offerRuns(own, example, open) {
      const known = new Set([...own, example].filter(Boolean).map(({ run_id }) => run_id));
      const option = (card) => h("option", { value: card.run_id, selected: card.run_id === open.run_id }, titled(card));
      const group = (label, cards) => (cards.length ? h("optgroup", { label }, ...cards.map(option)) : null);
      runs.replaceChildren(...[group("Your runs", own), group("Example", example ? [example] : []), group("Opened by its link", known.has(open.run_id) ? [] : [open])].filter(Boolean));
    },
    offerSaes: picker.offer,
    chooseSae: picker.choose,
    close: picker.close,
    offerSentences(model) {
      sentences = sentencesFor(model);
      ready.replaceChildren(h("span.lab-note", {}, "Try:"), ...tries());
    },
    tries,
    write,
    busy(is) {
      go.textContent = is ? "Looking…" : "Look inside";
      go.setAttribute("aria-disabled", String(is));
    },
  };

  // The ready sentences as buttons.
  function tries() {
    const choose = (sentence) => {
      write(sentence.text);
      look();
    };
    return sentences.map((sentence) => h("button.lab-button.quiet.inspect-sentence", { type: "button", title: sentence.text, onclick: () => choose(sentence) }, sentence.name));
  }

  // What stands there now: as much of the words as the lab takes.
  function write(words) {
    if (words !== text.value) said.textContent = "";
    text.value = words.slice(0, LONGEST);
    if (words.length > LONGEST) wasCut();
    requestAnimationFrame(fit);
    return text.value;
  }
}

// The number first: a narrow field cuts the end.
function titled({ name, title, run_id, headline }) {
  const closed = headline?.gap_closed?.value;
  const words = [closed === null || closed === undefined ? null : `${show(closed, "fraction")} closed`, name || title || run_id, name && title && name !== title ? title : null];
  return words.filter(Boolean).join(" · ");
}
