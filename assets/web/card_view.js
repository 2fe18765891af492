// A model card as the Hub will show it: the Markdown that the lab's own cards are written in, built as elements.
import { h } from "/lab/assets/dom.js";

// -> {front, body}: the front matter as it stands, and the card's elements; pictures: name in the repository -> address here
export function cardView(markdown, pictures = {}) {
  const [, front, text] = markdown.match(/^---\n([\s\S]*?)\n---\n([\s\S]*)$/) ?? [null, "", markdown];
  return { front, body: blocks(text).map((block) => element(block, pictures)) };
}

// Paragraphs, tables, lists and fenced code, each as its lines.
function blocks(text) {
  const found = [[]];
  let fenced = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("```")) {
      if (!fenced) found.push([]);
      found.at(-1).push(line);
      if (fenced) found.push([]);
      fenced = !fenced;
    } else if (fenced || line.trim()) found.at(-1).push(line);
    else found.push([]);
  }
  return found.filter((lines) => lines.length);
}

function element(lines, pictures) {
  const [first] = lines;
  const text = lines.join(" ");
  const picture = text.match(/^!\[([^\]]*)\]\(([^)]*)\)$/);
  const heading = text.match(/^(#{1,3}) (.*)$/);
  if (first.startsWith("```")) return h("pre.card-code", { tabindex: 0 }, lines.slice(1, -1).join("\n"));
  if (picture) return pictures[picture[2]] ? h("img", { src: pictures[picture[2]], alt: picture[1] }) : h("p.lab-note", {}, picture[1]);
  if (heading) return h(`h${heading[1].length + 2}`, {}, inline(heading[2]));
  if (first.startsWith("| ")) return table(lines);
  if (first.startsWith("- ")) return h("ul", {}, lines.join("\n").split(/\n?^- /m).slice(1).map((item) => h("li", {}, inline(item.replace(/\n/g, " ")))));
  return h("p", {}, inline(text));
}

function table([head, , ...rows]) {
  const cells = (row) => row.split("|").slice(1, -1).map((cell) => cell.trim());
  const line = (what, row) => h("tr", {}, cells(row).map((cell) => h(what, {}, inline(cell))));
  return h("div.lab-scroll", {}, h("table.lab-table", {}, h("thead", {}, line("th", head)), h("tbody", {}, rows.map((row) => line("td", row)))));
}

const INLINE = /\\([^\w\s])|`([^`]+)`|\[([^\]]+)\]\((https?:\/\/[^)\s]+)\)|\*([^*\s](?:[^*]*[^*\s])?)\*/;

function inline(text) {
  const match = text.match(INLINE);
  if (!match) return [text];
  const [whole, escaped, code, words, address, stressed] = match;
  const found =
    escaped ?? (code ? h("code", {}, code) : words ? h("a", { href: address, target: "_blank", rel: "noopener" }, words) : h("em", {}, stressed));
  return [text.slice(0, match.index), found, ...inline(text.slice(match.index + whole.length))];
}
