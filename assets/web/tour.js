// The tour: a card beside the thing it speaks of, on the real pages. It is offered once, can be left at any stop and taken again; where it is
// is kept in this browser, because it walks over several pages.
import { h } from "/lab/assets/dom.js";
import { example, insideExample } from "/lab/assets/example.js";
import { style } from "/lab/assets/style.js";
import { OFFER, STEPS } from "/lab/assets/tour_steps.js";

const [AT, DONE] = ["lab-tour-stop", "lab-tour-seen"];
const [PATIENCE_MS, MARGIN] = [8000, 8];

// A line that offers the tour until it was taken or declined.
export function invitation() {
  if (kept(DONE)) return null;
  const element = h(
    "p.home-offer.lab-note",
    {},
    `${OFFER} `,
    h("button.lab-term", { type: "button", onclick: startTour }, "Take the tour"),
    " ",
    h("button.lab-term", { type: "button", onclick: () => (keep(DONE, "declined"), element.remove()) }, "Not now"),
  );
  return element;
}

export function startTour() {
  go(0);
}

// Called on every page: goes on where the tour was left for this page.
export function goOn() {
  const stop = Number.parseInt(kept(AT) ?? "", 10);
  if (STEPS[stop] && isHere(STEPS[stop])) show(stop);
}

const isHere = ({ page, query }) =>
  location.pathname.replace(/(.)\/$/, "$1") === page && Object.entries(query).every(([name, value]) => new URL(location.href).searchParams.get(name) === value);

async function go(stop) {
  const step = STEPS[stop];
  keep(AT, String(stop));
  if (isHere(step)) show(stop);
  else if (step.page === "/inspect") location.assign(insideExample(await example().catch(() => null)));
  else location.assign(`${step.page}?${new URLSearchParams(step.query)}`.replace(/\?$/, ""));
}

async function show(stop) {
  close();
  const step = STEPS[stop];
  const [target] = await Promise.all([found(step.at), style("tour")]);
  if (kept(AT) !== String(stop)) return; // left, or gone on, while the page was being built
  close();
  const last = stop === STEPS.length - 1;
  const heading = h("h2", { id: "tour-title", tabindex: -1 }, step.title);
  const card = h(
    "dialog.tour.lab-island",
    { "aria-labelledby": "tour-title", "aria-describedby": "tour-text" },
    h("p.lab-eyebrow", {}, `Stop ${stop + 1} of ${STEPS.length}`),
    heading,
    h("p", { id: "tour-text" }, step.text),
    h(
      "div.tour-ways",
      {},
      h("button.lab-button.quiet", { type: "button", onclick: end }, last ? "Close" : "Leave the tour"),
      stop ? h("button.lab-button", { type: "button", onclick: () => go(stop - 1) }, "Back") : null,
      last ? h("a.lab-button.primary", { href: "/", onclick: end }, "To the start") : h("button.lab-button.primary", { type: "button", onclick: () => go(stop + 1) }, "Next"),
    ),
  );
  const ring = h("div.tour-ring", { "aria-hidden": "true" });
  document.body.append(ring, card);
  target?.scrollIntoView({ block: "center", behavior: "instant" });
  card.show(); // not modal: the page can be used meanwhile
  const place = () => settle(card, ring, target);
  place();
  heading.focus({ preventScroll: true });
  const watcher = new ResizeObserver(place);
  watcher.observe(document.body);
  addEventListener("scroll", place, { passive: true, capture: true });
  addEventListener("resize", place);
  addEventListener("keydown", onKey);
  card.addEventListener("close", () => {
    watcher.disconnect();
    removeEventListener("scroll", place, { capture: true });
    removeEventListener("resize", place);
    removeEventListener("keydown", onKey);
    ring.remove();
    card.remove();
  });
}

function onKey(event) {
  if (event.key === "Escape" && !document.querySelector("dialog:modal")) end();
}

function end() {
  forget(AT);
  keep(DONE, "taken");
  document.querySelector(".home-offer")?.remove();
  close();
  document.querySelector("[data-tour-button]")?.focus();
}

const close = () => document.querySelector("dialog.tour")?.close();

// The card goes below its target, else above, else to the foot of the window.
function settle(card, ring, target) {
  const box = target?.isConnected ? target.getBoundingClientRect() : null;
  ring.hidden = !box || !box.width;
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  if (ring.hidden || innerWidth < 640) Object.assign(card.style, { left: `${(innerWidth - width) / 2}px`, top: `${innerHeight - height - 12}px` });
  if (ring.hidden) return;
  Object.assign(ring.style, { left: `${box.left - MARGIN}px`, top: `${box.top - MARGIN}px`, width: `${box.width + 2 * MARGIN}px`, height: `${box.height + 2 * MARGIN}px` });
  if (innerWidth < 640) return;
  const below = box.bottom + MARGIN + 10;
  const above = box.top - MARGIN - 10 - height;
  const top = below + height < innerHeight ? below : above > 0 ? above : innerHeight - height - 16;
  Object.assign(card.style, { left: `${Math.max(12, Math.min(box.left, innerWidth - width - 12))}px`, top: `${top}px` });
}

// The first of the things that the page has, once it is built; null if it never comes.
async function found(selectors) {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const waited = performance.now() > until - PATIENCE_MS / 2;
    const [best] = selectors;
    const present = document.querySelector(best) ?? (waited ? selectors.map((each) => document.querySelector(each)).find(Boolean) : null);
    if (present?.getBoundingClientRect().height) return present;
    if (performance.now() > until) return null;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

function kept(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // a browser that keeps nothing: the tour ends with this page
  }
}

function forget(name) {
  try {
    localStorage.removeItem(name);
  } catch {
    // nothing was kept
  }
}
