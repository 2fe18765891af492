// One token, in full: its activations, what the SAE did to the prediction made here, and what each model expects next. It stays in its place.
import { h } from "/lab/assets/dom.js";
import { healing, isAside, percent, signed, value } from "/lab/assets/inspect_words.js";
import { exact, partWords, quoted, tokenText } from "/lab/assets/token_text.js";

const MODELS = [
  ["original", "Original"],
  ["original_sae", "Original + SAE"],
  ["adapted_sae", "Adapted + SAE"],
];

// on.move(by): to the token before or after.
export function tokencard(on) {
  const body = h("div.tokencard-body");
  const step = (by, sign, words) => h("button.lab-button.quiet.tokencard-step", { type: "button", "aria-label": words, title: words, onclick: () => on.move(by) }, sign);
  const title = h("h3.tokencard-title");
  const where = h("span.lab-note.lab-number");
  const loose = h("button.lab-button.quiet.tokencard-step.tokencard-loose", { type: "button", "aria-label": "Put the card back below the text", title: "Put the card back below the text", onclick: () => element.classList.remove("follows") }, "×");
  const element = h(
    "section.tokencard",
    { "aria-label": "The chosen token" },
    h("header.tokencard-head", {}, step(-1, "‹", "Token before"), title, step(1, "›", "Token after"), where, loose),
    body,
  );

  // tokens, index of the one shown, feature: {feature, before, after} or null
  function show(tokens, index, feature) {
    if (index === null || !tokens[index]) {
      title.textContent = "No token chosen";
      where.textContent = "";
      body.replaceChildren(h("p.lab-note", {}, "Point at a token, tap it, or move along the text with the arrow keys: everything that is known about it stands here."));
      return;
    }
    const token = tokens[index];
    const follows = tokens[index + 1];
    title.replaceChildren(h("code.tokencard-token", { dir: "auto" }, exact(token.text)));
    where.textContent = `token ${index} of ${tokens.length - 1}, id ${token.id}${partWords(token) && `, ${partWords(token)}`}${isAside(token) ? ", special: passes by the SAE, not scored" : ""}`;
    body.replaceChildren(
      h("dl.tokencard-facts", {}, ...facts(token, index, feature)),
      h("div.tokencard-next", { role: "group", "aria-label": "Likeliest next tokens" }, ...MODELS.map(([key, words]) => nextTokens(words, key, token.next[key], follows))),
    );
  }
  show([], null, null);
  // Once a token was asked for, the card stays in the window while the text scrolls.
  return { element, show, follow: () => element.classList.add("follows") };
}

function facts(token, index, feature) {
  const rows = [];
  if (feature) {
    const [before, after] = [feature.before[index], feature.after[index]];
    rows.push(fact(`Activation of feature ${feature.feature}`, [value(before), " → ", value(after)], before === 0 && after === 0 ? ["silent here"] : [signed(after - before)]));
  }
  rows.push(fact("Prediction made here", ["KL ", value(token.kl_before), " → ", value(token.kl_after)], [healing(token.kl_before, token.kl_after)]));
  if (token.ce_original !== null && token.ce_original !== undefined)
    rows.push(fact("Surprise at this token", ["CE ", value(token.ce_before), " → ", value(token.ce_after)], [`original ${value(token.ce_original)}`]));
  else rows.push(fact("Surprise at this token", ["–"], ["the first token is not predicted"]));
  return rows;
}

const fact = (name, numbers, words) =>
  h("div", {}, h("dt", {}, name), h("dd", {}, h("b.lab-number", {}, ...numbers), h("span.lab-note.lab-number", {}, ...words)));

function nextTokens(words, key, rows, follows) {
  const isNext = (token) => follows !== undefined && token === follows.text;
  return h(
    "div.tokencard-model",
    { "data-model": key },
    h("h4", {}, `${words} expects`),
    h(
      "ol",
      {},
      ...rows.map(([token, probability]) =>
        h(
          "li",
          { title: isNext(token) ? `${quoted(token)} is what follows in the text` : null, class: isNext(token) ? "right" : null },
          h("span.tokencard-bar", { style: `--share: ${Math.min(1, probability)}`, "aria-hidden": "true" }),
          h("code", { dir: "auto" }, tokenText(token)),
          isNext(token) ? h("span.tokencard-hit", { "aria-label": "what follows in the text" }, "✓") : null,
          h("span.lab-number", {}, percent(probability, probability < 0.0995 ? 1 : 0)),
        ),
      ),
    ),
  );
}
