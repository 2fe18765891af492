// The page of published adapters: what the Hub's tag search finds, with what each card states; and a box to open any adapter by its name.
import { ask, empty, h, problem, remember, show, signsIn } from "/lab/assets/dom.js";
import { doing, measureAdapter, openAdapter, openBox } from "/lab/assets/open_published.js";
import { style } from "/lab/assets/style.js";

const AT_ONCE = 50;
const HUB = "https://huggingface.co/";
const SORTS = {
  newest: ["Newest first", (a, b) => b.created.localeCompare(a.created)],
  best: ["Most of the gap closed", (a, b) => (b.gap_closed ?? -Infinity) - (a.gap_closed ?? -Infinity)],
  name: ["By name", (a, b) => a.repo_id.localeCompare(b.repo_id)],
};
const COLUMNS = ["Adapter", "Model", "SAE", "Rank", "Gap closed", ""];
const count = (n) => n.toLocaleString("en");
const short = (n) => (n >= 2 ** 20 ? `${Math.round(n / 2 ** 20)}M` : n >= 10_000 ? `${Math.round(n / 1024)}k` : count(n));
const percent = (value, error) => `${show(value, "fraction")}${error ? ` ± ${(100 * error).toFixed(1)}` : ""}`;
const layerOf = (hook) => /\.(\d+)\./.exec(hook ?? "")?.[1];

export async function mount(element) {
  await style("gallery");
  const asked = new URL(location.href).searchParams;
  const view = { q: asked.get("q") ?? "", sort: asked.get("sort") in SORTS ? asked.get("sort") : "newest" };
  let [rows, here, mayOpen, hasMore, answered, most, closed] = [[], [], true, false, false, AT_ONCE, false];

  const search = h("input", { type: "search", value: view.q, placeholder: "Name, model, SAE, author", "aria-label": "Search adapters", autocomplete: "off", oninput: () => change({ q: search.value }) });
  const sort = h("select", { "aria-label": "Order", onchange: () => change({ sort: sort.value }) }, Object.entries(SORTS).map(([key, [words]]) => h("option", { value: key, selected: key === view.sort }, words)));
  const status = h("p.lab-note", { role: "status" }, "Asking the Hub…");
  const trouble = h("div");
  const body = h("tbody", { role: "rowgroup" });
  const heads = COLUMNS.map((words) => h("th", { role: "columnheader", scope: "col" }, words || h("span.lab-visually-hidden", {}, "Open")));
  const table = h("table.gallery-table", { role: "table", "aria-label": "Published adapters", hidden: true }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
  const nothing = h("div");
  const more = h("button.lab-button.gallery-more", { type: "button", hidden: true, onclick: () => showMore() });
  const claim = h("p.lab-note.gallery-claim", { hidden: true }, "The numbers are what each author’s card states. “Measure here” checks one of them with a run of your own that trains nothing.");
  const tools = h("div.gallery-tools", { role: "search", hidden: true }, search, sort);
  const ours = h("ul.gallery-here");
  const oursSection = h("section.run-section", { "aria-label": "In this lab", hidden: true }, h("h2", {}, "In this lab"), ours);

  element.replaceChildren(
    h("header.gallery-head", {}, h("h1", {}, "Gallery"), h("p.lab-note", {}, "Adapters that people published from LoRA-SAE Lab. Each opens here as a run: look inside, continue it, do it again.")),
    openBox(),
    h("h2", {}, "Published adapters"),
    tools,
    status,
    trouble,
    claim,
    table,
    nothing,
    more,
    oursSection,
  );

  function change(part) {
    Object.assign(view, part);
    most = AT_ONCE;
    remember({ q: view.q, sort: view.sort === "newest" ? null : view.sort });
    draw();
  }

  function showMore() {
    const before = most;
    most += AT_ONCE;
    draw();
    body.children[before]?.querySelector("a")?.focus();
  }

  function draw() {
    if (closed) return;
    drawHere();
    if (!answered) return;
    const found = rows.filter((row) => matches(row, view.q)).sort(SORTS[view.sort][1]);
    const shown = found.slice(0, most);
    body.replaceChildren(...shown.map((row) => rowOf(row, here.filter(({ repo_id }) => repo_id === row.repo_id), mayOpen)));
    tools.hidden = !rows.length;
    table.hidden = !shown.length;
    claim.hidden = !shown.some((row) => row.gap_closed !== null);
    more.hidden = found.length <= most;
    more.textContent = `Show ${Math.min(AT_ONCE, found.length - most)} more`;
    status.textContent = rows.length ? `${count(found.length)} of ${hasMore ? "the newest " : ""}${count(rows.length)}` : "";
    nothing.replaceChildren(...(found.length || (trouble.firstChild && here.length) ? [] : [none()]));
  }

  function none() {
    const nowhere = mayOpen ? { href: "/runs", text: "Go to your runs" } : { href: "/inspect?run=example", text: "Explore a finished example" };
    if (trouble.firstChild) return empty(`Nothing from the Hub is open in this lab yet. ${mayOpen ? "Your own runs and the example need" : "The example needs"} no network.`, nowhere);
    if (!rows.length) return empty(`Nobody has published an adapter yet, or the Hub does not show them to you. ${mayOpen ? "A finished run is published from its own page." : ""}`, nowhere);
    const clear = h("button.lab-button", { type: "button", onclick: () => (change({ q: (search.value = "") }), search.focus()) }, "Clear the search");
    return h("div.lab-empty", {}, h("p", {}, `No adapter matches “${view.q}”.`), clear);
  }

  function drawHere() {
    oursSection.hidden = !here.length;
    ours.replaceChildren(
      ...here.map((each) =>
        h(
          "li",
          {},
          h("a", { href: `/run?run=${encodeURIComponent(each.run_id)}` }, each.name || each.repo_id),
          h("span.lab-note", {}, ` ${[each.model === "pocket" ? "Pocket model" : each.model, each.gap_closed === null ? null : `${percent(each.gap_closed, each.gap_closed_error)} of the gap closed, ${each.measured ? "measured here" : "by its author"}`].filter(Boolean).join(" · ")}`),
        ),
      ),
    );
  }

  async function lookHere() {
    try {
      ({ here, may_open: mayOpen } = await ask("/lab/gallery/here"));
    } catch (error) {
      trouble.replaceChildren(problem(error));
    }
    draw();
  }

  async function look() {
    try {
      const list = await ask("/lab/gallery");
      ({ rows, has_more: hasMore } = list);
      if (list.problem) trouble.replaceChildren(problem({ message: list.problem }));
    } catch (error) {
      trouble.replaceChildren(problem(error));
    }
    answered = true;
    status.textContent = "";
    draw();
  }

  await lookHere();
  look();
  return () => {
    closed = true;
  };
}

function rowOf(row, known, mayOpen) {
  const cell = (label, ...children) => h("td", { role: "cell", "data-label": label }, ...children);
  const trouble = h("div", { "aria-live": "assertive" });
  const opened = known.find(({ measured, commit }) => !measured && commit === row.commit);
  const measured = known.find((each) => each.measured && each.commit === row.commit);
  const name = row.repo_id.split("/").at(-1);
  const open = opened
    ? h("a.lab-button", { href: `/run?run=${encodeURIComponent(opened.run_id)}`, "aria-label": `Go to ${row.repo_id}, which is open here` }, "Go to it")
    : labelled(doing("button.lab-button.primary", "Open", "Fetching…", () => openAdapter(row.repo_id), trouble), `Open ${row.repo_id}`);
  const measure = measured ? null : labelled(doing("button.lab-button.quiet", "Measure here", "Starting…", () => measureAdapter(row.repo_id, row.commit), trouble), `Measure ${row.repo_id} here`);
  return h(
    "tr",
    { role: "row" },
    h(
      "td.gallery-name",
      { role: "cell", "data-label": "Adapter" },
      h("a", { href: HUB + row.repo_id, target: "_blank", rel: "noopener", title: `${row.repo_id} on the Hub` }, name),
      h("span.lab-note", {}, ` by ${row.author}${row.created ? `, ${row.created.slice(0, 10)}` : ""}`),
      h("span.gallery-chips", {}, row.licence ? chip(row.licence, "Its licence") : null, row.gated ? chip("gated", "The Hub gives it to people who signed in and were let in") : null, row.private ? chip("private", "Only you, or your organisation, see it") : null),
    ),
    cell("Model", row.model === "pocket" ? "Pocket model" : (row.model ?? "–")),
    cell("SAE", row.saes.length ? row.saes.map(saeOf) : "–"),
    cell("Rank", h("span.lab-number", {}, row.rank === null ? "–" : count(row.rank))),
    cell("Gap closed", gapOf(row, measured)),
    h("td.gallery-go", { role: "cell" }, mayOpen ? h("div.lab-row", {}, open, measure) : h("span.lab-note", {}, signsIn() ? "Sign in to open it" : "Allow cookies to open it"), trouble),
  );
}

const chip = (words, title) => h("span.lab-chip", { title }, words);

function labelled(button, words) {
  button.setAttribute("aria-label", words);
  return button;
}

function saeOf({ release, sae_id: id, hook_point: hook, d_sae: width, l0 }) {
  const layer = layerOf(hook);
  const facts = [layer === undefined ? null : `layer ${layer}`, width === null ? null : `${short(width)} wide`, l0 === null ? null : `L0 ${show(l0)}`].filter(Boolean).join(", ");
  return h("div", { title: hook ?? "" }, h("span", {}, facts || "–"), h("span.lab-note.gallery-release", {}, [release, id].filter(Boolean).join(" / ")));
}

function gapOf(row, measured) {
  if (row.gap_closed === null && !measured) return "–";
  const again = row.measured_again ? ", who measured the published files again" : "";
  return [
    row.gap_closed === null ? null : h("span.lab-number.gallery-gap", {}, percent(row.gap_closed, row.gap_closed_error)),
    measured
      ? h("a.gallery-measured", { href: `/run?run=${encodeURIComponent(measured.run_id)}` }, measured.gap_closed === null ? "measured here" : `${percent(measured.gap_closed, measured.gap_closed_error)} measured here`)
      : h("span.lab-note", {}, `by its author${again}`),
  ];
}

// Every word of the search must occur somewhere in what a row says.
function matches(row, q) {
  const saes = row.saes.flatMap((sae) => [sae.release, sae.sae_id, layerOf(sae.hook_point) === undefined ? "" : `layer ${layerOf(sae.hook_point)}`, sae.d_sae === null ? "" : short(sae.d_sae)]);
  const text = [row.repo_id, row.model, row.licence, row.rank === null ? "" : `rank ${row.rank}`, ...saes].join(" ").toLowerCase();
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
