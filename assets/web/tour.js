// The tour: a card beside the thing it speaks of, on the real pages. It is offered once, can be left at any stop and taken again; where it is
// is kept in this browser, because it walks over several pages.
import { h } from "/lab/assets/dom.js";
import { example, insideExample } from "/lab/assets/example.js";
import { style } from "/lab/assets/style.js";
import { OFFER, STEPS } from "/lab/assets/tour_steps.js";

const [AT, DONE] = ["lab-tour-stop", "lab-tour-seen"];
const [PATIENCE_MS, MARGIN] = [60000, 8];

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
  await style("tour");
  if (kept(AT) !== String(stop)) return; // left, or gone on, meanwhile
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
  card.show(); // not modal: the page can be used meanwhile
  let target = null;
  const place = () => settle(card, ring, target);
  const waiting = whenThere(step.at, (element) => {
    target = element;
    target.scrollIntoView({ block: "center", behavior: "instant" });
    place();
  });
  place();
  heading.focus({ preventScroll: true });
  const watcher = new ResizeObserver(place);
  watcher.observe(document.body);
  const gone = new AbortController(); // of this card alone: the next one may be there before this one's "close" is told
  addEventListener("scroll", place, { passive: true, capture: true, signal: gone.signal });
  addEventListener("resize", place, { signal: gone.signal });
  addEventListener("keydown", onKey, { signal: gone.signal });
  card.addEventListener("close", () => {
    waiting.stop();
    watcher.disconnect();
    gone.abort();
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

// The card goes below its target, else above, else beside it at the foot of the window.
function settle(card, ring, target) {
  const box = target?.isConnected ? target.getBoundingClientRect() : null;
  ring.hidden = !box || !box.width;
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  if (ring.hidden || innerWidth < 640) Object.assign(card.style, { left: `${(innerWidth - width) / 2}px`, top: `${innerHeight - height - 12}px` });
  if (ring.hidden) return;
  Object.assign(ring.style, { left: `${box.left - MARGIN}px`, top: `${box.top - MARGIN}px`, width: `${box.width + 2 * MARGIN}px`, height: `${box.height + 2 * MARGIN}px` });
  if (innerWidth < 640) return;
  const [below, above, beside] = [box.bottom + MARGIN + 10, box.top - MARGIN - 10 - height, box.right + MARGIN + 10];
  const fits = below + height < innerHeight || above > 0;
  const left = !fits && beside + width < innerWidth ? beside : Math.max(12, Math.min(box.left, innerWidth - width - 12));
  const top = below + height < innerHeight ? below : above > 0 ? above : innerHeight - height - 16;
  Object.assign(card.style, { left: `${left}px`, top: `${top}px` });
}

// What the stop points to may be built after the card is there: a model may have to be loaded first.
function whenThere(selector, then) {
  const until = performance.now() + PATIENCE_MS;
  let timer = 0;
  function look() {
    const element = document.querySelector(selector);
    if (element?.getBoundingClientRect().height) then(element);
    else if (performance.now() < until) timer = setTimeout(look, 150);
  }
  look();
  return { stop: () => clearTimeout(timer) };
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
