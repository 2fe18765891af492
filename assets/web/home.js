// The first page: what this is, one button to begin with, a finished example, and what is going on now.
import { ask, h, problem, signsIn } from "/lab/assets/dom.js";
import { example, insideExample } from "/lab/assets/example.js";
import { term } from "/lab/assets/glossary.js";
import { researchers } from "/lab/assets/researchers.js";
import { recentRuns } from "/lab/assets/recent_runs.js";
import { story } from "/lab/assets/story.js";
import { style } from "/lab/assets/style.js";
import { invitation } from "/lab/assets/tour.js";

const BUSY = ["queued", "running", "stopping"];

export async function mount(element) {
  await style("home");
  const start = startButton();
  const finished = h("a.lab-button.large", { href: "/inspect?run=example", "data-tour": "example" }, "Explore a finished example");
  const picture = story();
  const runs = recentRuns((cards) => start.lead(cards.find((card) => BUSY.includes(card.state))));
  const lane = researchers();
  element.replaceChildren(
    h(
      "div.home-hero",
      {},
      h(
        "div.home-words",
        {},
        h("h1", {}, "Look inside a language model. Mend what looking breaks."),
        ...sentences(),
        h("div.home-actions", { "data-tour": "start" }, start.element, finished),
        start.trouble,
        h("p.lab-note", {}, "The ", term("pocket", "pocket model"), " comes with the lab. A repair takes about two minutes: ", signsIn() ? "" : "no account, ", "no download, no code."),
        invitation(),
      ),
      picture.element,
    ),
    runs.element,
    lane.element,
  );
  example().then(
    (run) => {
      finished.href = insideExample(run);
      picture.fill(run);
      lane.fill(run);
    },
    () => picture.fill(null), // the page says what it says without numbers, too
  );
  return runs.stop;
}

function sentences() {
  return [
    h("p.lab-lead", {}, "A ", term("model", "language model"), " reads a text and guesses what comes next. In between it holds an inner state: a long list of numbers that nobody can read."),
    h("p", {}, "A dictionary, called an ", term("sae", "SAE"), ", rewrites this state as a short list of ", term("feature", "features"), ", each a pattern one can look up. The rewriting is not perfect: with the dictionary in place, the model guesses worse. That loss is the ", term("gap", "gap"), "."),
    h("p", {}, "The lab leaves the dictionary as it is and repairs the model around it. A small add-on, an ", term("adapter", "adapter"), ", learns to work with what the dictionary passes on, and part of the gap closes."),
  ];
}

// One click starts one run, however often it is pressed: every press of a visit carries the same token. Where one is at work, the button leads there.
function startButton() {
  let [token, busyRun] = [newToken(), null];
  const trouble = h("div", { "aria-live": "assertive" });
  const element = h("button.lab-button.primary.large", { type: "button", onclick: press });
  rest();

  function rest() {
    element.removeAttribute("aria-disabled");
    element.textContent = busyRun ? "See your repair at work" : "Repair the pocket model";
  }

  async function press() {
    if (element.getAttribute("aria-disabled")) return;
    if (busyRun) return location.assign(`/run?run=${encodeURIComponent(busyRun)}`);
    element.setAttribute("aria-disabled", "true");
    element.textContent = "Starting…";
    trouble.replaceChildren();
    try {
      const { run_id: run } = await ask("/lab/start-pocket", { method: "POST", body: { submission: token } });
      location.assign(`/run?run=${encodeURIComponent(run)}`);
    } catch (error) {
      trouble.replaceChildren(problem(error));
      rest();
    }
  }

  function lead(card) {
    busyRun = card?.run_id ?? null;
    if (!element.getAttribute("aria-disabled")) rest();
  }

  addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // come back to by the browser's own button: a new visit
    token = newToken();
    rest();
  });
  return { element, trouble, lead };
}

function newToken() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
