// A row of tabs, as the keyboard expects it: arrows, Home and End move, and moving shows.
import { h } from "/lab/assets/dom.js";

// names: {key: words}; -> {element, choose(key), name(key, words), idOf(key)}
export function tabs(names, choose) {
  const idOf = (key) => `tab-${key}`;
  const buttons = Object.fromEntries(
    Object.entries(names).map(([key, words]) => [key, h("button.tabs-tab", { type: "button", role: "tab", id: idOf(key), "aria-selected": "false", tabindex: -1, onclick: () => choose(key) }, words)]),
  );
  const keys = Object.keys(names);
  const element = h("div.tabs", { role: "tablist", "aria-label": "Views" }, ...Object.values(buttons));
  element.addEventListener("keydown", (event) => {
    const here = keys.findIndex((key) => buttons[key] === event.target);
    const moves = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: keys.length - 1 };
    if (here < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const key = keys[(moves[event.key] + keys.length) % keys.length];
    choose(key);
    buttons[key].focus();
  });
  return {
    element,
    idOf,
    choose(chosen) {
      for (const [key, button] of Object.entries(buttons)) {
        button.setAttribute("aria-selected", String(key === chosen));
        button.tabIndex = key === chosen ? 0 : -1;
      }
    },
    name(key, words) {
      buttons[key].textContent = words;
    },
  };
}
