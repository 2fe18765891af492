// The header of every page: brand and tools beside Gradio's navigation, the link past it, and the page's title.
import { h, svg } from "/lab/assets/dom.js";
import * as theme from "/lab/assets/theme.js";
import { visitorTool } from "/lab/assets/visitor.js";

const LAB = "LoRA-SAE Lab";
const TITLES = { "/": "Home", "/adapt": "Adapt", "/catalog": "SAEs", "/runs": "Runs", "/gallery": "Gallery", "/run": "Run", "/inspect": "Inspect" };
const ICONS = {
  light: "M8 4.6a3.4 3.4 0 1 0 0 6.8 3.4 3.4 0 0 0 0-6.8M8 .9v1.5M8 13.6v1.5M.9 8h1.5M13.6 8h1.5M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  dark: "M13.6 9.7A6.1 6.1 0 0 1 6.3 2.4a6.1 6.1 0 1 0 7.3 7.3Z",
  system: "M2 3.2h12v8H2zM6 13.9h4M8 11.4v2.4",
};

export async function header() {
  title();
  theme.start();
  const holder = await found(".nav-holder");
  holder.setAttribute("role", "banner");
  const nav = holder.querySelector("nav");
  nav.setAttribute("aria-label", "Pages");
  nav.querySelector("a.active")?.setAttribute("aria-current", "page");
  const main = await found("main.contain");
  main.id ||= "lab-main";
  main.tabIndex = -1;
  document.body.prepend(h("a.lab-skip", { href: `#${main.id}`, onclick: () => setTimeout(() => main.focus()) }, "Skip to the page"));
  holder.prepend(h("a.lab-brand", { href: "/" }, h("img", { src: "/lab/assets/logo.svg", alt: "", width: 28, height: 28 }), LAB));
  holder.append(h("div.lab-tools", {}, tourButton(), wordsButton(), visitorTool(), themeSwitch()));
  if (document.title === LAB) title(); // unless the page has named itself meanwhile: Gradio has put its own title there
  if (document.querySelector('meta[name="lab-notices"]')) import("/lab/assets/notices.js").then(({ showNotices }) => showNotices(holder)).catch(console.warn);
  if (tourIsOn()) (await import("/lab/assets/tour.js")).goOn();
}

// Pages whose subject has a name put it first: "my first repair · LoRA-SAE Lab".
export function title(subject = TITLES[location.pathname.replace(/(.)\/$/, "$1")]) {
  document.title = !subject || subject === "Home" ? LAB : `${subject} · ${LAB}`;
}

function wordsButton() {
  const open = async () => (await import("/lab/assets/glossary.js")).openGlossary();
  return h("button.lab-button.quiet", { type: "button", "aria-haspopup": "dialog", title: "What the words mean", onclick: open }, "Words");
}

function tourButton() {
  const start = async () => (await import("/lab/assets/tour.js")).startTour();
  return h("button.lab-button.quiet.lab-wide", { type: "button", "data-tour-button": true, title: "A walk through the lab in a few steps", onclick: start }, "Tour");
}

function tourIsOn() {
  try {
    return localStorage.getItem("lab-tour-stop") !== null;
  } catch {
    return false;
  }
}

function themeSwitch() {
  const choices = Object.entries(theme.THEMES).map(([name, words]) => {
    const input = h("input", { type: "radio", name: "lab-theme", value: name, checked: theme.chosen() === name, onchange: () => theme.choose(name) });
    const icon = svg("svg", { viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": 1.4, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" });
    icon.append(svg("path", { d: ICONS[name] }));
    return h("label", { title: `Colours: ${words}` }, input, icon, h("span.lab-visually-hidden", {}, words));
  });
  return h("div.lab-theme", { role: "radiogroup", "aria-label": "Colours" }, ...choices);
}

// Gradio builds its page after this script has been read.
function found(selector) {
  const present = document.querySelector(selector);
  if (present) return Promise.resolve(present);
  return new Promise((resolve) => {
    const watcher = new MutationObserver(() => {
      const element = document.querySelector(selector);
      if (!element) return;
      watcher.disconnect();
      resolve(element);
    });
    watcher.observe(document.body, { childList: true, subtree: true });
  });
}
