// The page of all runs: cards to search, sort, rename, delete and compare. `/runs?compare=a,b` shows the comparison instead.
import { ask, empty, h, problem, remember } from "/lab/assets/dom.js";
import { called, isBusy, stateWord } from "/lab/assets/progress.js";
import { runCard } from "/lab/assets/run_card.js";
import { style } from "/lab/assets/style.js";

const LOOK_AGAIN_MS = 3000;
const SORTS = {
  newest: ["Newest first", (a, b) => b.created.localeCompare(a.created)],
  best: ["Most of the gap closed", (a, b) => (b.headline.gap_closed?.value ?? -Infinity) - (a.headline.gap_closed?.value ?? -Infinity)],
  name: ["By name", (a, b) => called(a).localeCompare(called(b))],
};
const listed = (text) => (text ?? "").split(",").filter(Boolean);

export async function mount(element) {
  await Promise.all([style("run"), style("runs")]);
  const asked = new URL(location.href).searchParams;
  const compared = listed(asked.get("compare"));
  return compared.length ? (await import("/lab/assets/compare.js")).compare(element, compared) : list(element, asked);
}

async function list(element, asked) {
  const view = {
    q: asked.get("q") ?? "",
    sort: asked.get("sort") in SORTS ? asked.get("sort") : "newest",
    chosen: new Set(listed(asked.get("select"))),
  };
  let [runs, example, timer, closed] = [[], null, null, false];
  const cards = new Map(); // by run id
  const search = h("input", {
    type: "search",
    value: view.q,
    placeholder: "Name, model, SAE, state",
    "aria-label": "Search runs",
    oninput: () => change({ q: search.value }),
  });
  const sort = h("select", { "aria-label": "Order", onchange: () => change({ sort: sort.value }) });
  sort.append(...Object.entries(SORTS).map(([key, [words]]) => h("option", { value: key, selected: key === view.sort }, words)));
  const trouble = h("div");
  const grid = h("div.runs-grid");
  const examples = h("div.runs-grid");
  const count = h("p.lab-note", { role: "status" });
  const tools = h("div.runs-tools", { role: "search" }, search, sort, count);
  const exampleSection = h("section.run-section", { "aria-label": "Example" }, h("h2", {}, "Example"), examples);
  const chosenBar = h("div.runs-chosen", { role: "region", "aria-label": "Selected runs", hidden: true });
  element.replaceChildren(
    h(
      "header.run-head",
      {},
      h(
        "div",
        {},
        h("h1", {}, "Runs"),
        h("p.lab-note.run-title", {}, "Every adaptation, with its settings and its numbers. Select two or more to compare them."),
      ),
      h("div.lab-row", {}, h("a.lab-button", { href: "/gallery" }, "Open a published adapter"), h("a.lab-button.primary", { href: "/adapt" }, "New run")),
    ),
    tools,
    trouble,
    h("h2.lab-visually-hidden", {}, "Your runs"),
    grid,
    exampleSection,
    chosenBar,
  );

  async function look() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        ({ runs, example } = await ask("/lab/runs"));
        trouble.replaceChildren();
        if (!closed) draw();
      } catch (error) {
        trouble.replaceChildren(problem(error));
      }
    }
    if (!closed) timer = setTimeout(look, LOOK_AGAIN_MS);
  }

  function change(part) {
    Object.assign(view, part);
    remember({ q: view.q, sort: view.sort === "newest" ? null : view.sort, select: [...view.chosen].join(",") });
    draw();
  }

  function draw() {
    const all = [...runs, ...(example ? [example] : [])];
    for (const run of all) {
      const card = cards.get(run.run_id);
      if (card) card.update(run);
      else cards.set(run.run_id, runCard(run, view.chosen.has(run.run_id), { select, gone, changed }));
    }
    const shown = runs.filter((run) => matches(run, view.q)).sort(SORTS[view.sort][1]);
    place(
      grid,
      shown.map(({ run_id }) => cards.get(run_id).element),
      nothing(runs.length, view.q),
    );
    place(examples, example ? [cards.get(example.run_id).element] : []);
    exampleSection.hidden = !example;
    tools.hidden = !runs.length;
    const busy = runs.filter(({ state }) => isBusy(state)).length;
    count.textContent = `${shown.length} of ${runs.length}${busy ? `, ${busy} under way` : ""}`;
    showChosen(all);
  }

  function nothing(n, q) {
    if (!n)
      return empty("You have no runs yet. The pocket adaptation takes about two minutes on two cores.", {
        href: "/",
        text: "Start the pocket adaptation",
      });
    const clear = h("button.lab-button", { type: "button", onclick: () => change({ q: (search.value = "") }) }, "Clear the search");
    return h("div.lab-empty", {}, h("p", {}, `No run matches “${q}”.`), clear);
  }

  // The selection is the visitor's: runs that come or go do not change what else is in it.
  function select(runId, on) {
    view.chosen[on ? "add" : "delete"](runId);
    change({});
  }

  function showChosen(all) {
    const chosen = [...view.chosen].map((runId) => all.find(({ run_id }) => run_id === runId)).filter(Boolean); // the first chosen is compared with
    chosenBar.hidden = !chosen.length;
    const address = `/runs?compare=${chosen.map(({ run_id }) => encodeURIComponent(run_id)).join(",")}`;
    const words =
      chosen.length === 1 ? `“${called(chosen[0])}” is selected. Select one more to compare.` : `${chosen.length} runs are selected.`;
    const key = address + words;
    if (chosenBar.dataset.shown === key) return;
    chosenBar.dataset.shown = key;
    chosenBar.replaceChildren(
      h("span", {}, words),
      chosen.length > 1 ? h("a.lab-button.primary", { href: address }, `Compare ${chosen.length} runs`) : "",
      h("button.lab-button", { type: "button", onclick: unselect }, "Select none"),
    );
  }

  function unselect() {
    view.chosen.clear();
    for (const { element: card } of cards.values()) card.querySelector(".run-card-box input").checked = false;
    change({});
    search.focus();
  }

  function gone(runId) {
    runs = runs.filter(({ run_id }) => run_id !== runId);
    view.chosen.delete(runId);
    cards.delete(runId);
    change({});
    search.focus();
  }

  function changed(runId, part) {
    runs = runs.map((run) => (run.run_id === runId ? { ...run, ...part } : run));
  }

  const seen = () => !document.hidden && look();
  document.addEventListener("visibilitychange", seen);
  await look();
  return () => {
    closed = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}

// Every word of the search must occur somewhere in what a card says.
function matches(run, q) {
  const text = [
    run.name,
    run.title,
    run.settings,
    run.state,
    stateWord(run.state),
    ...run.saes.flatMap(({ release, sae_id }) => [release, sae_id]),
  ]
    .join(" ")
    .toLowerCase();
  return q
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

// Elements in order; those in place stay untouched.
function place(box, elements, otherwise) {
  const wanted = elements.length || !otherwise ? elements : [otherwise];
  if (wanted.length === box.childNodes.length && wanted.every((element, i) => box.childNodes[i] === element)) return;
  for (const child of [...box.childNodes]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((element, i) => box.childNodes[i] !== element && box.insertBefore(element, box.childNodes[i] ?? null));
}
