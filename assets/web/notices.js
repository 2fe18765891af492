// Under the header of every page: what holds for the whole lab, such as that it forgets. Hidden for this tab once it was read.
import { ask, h } from "/lab/assets/dom.js";

export async function showNotices(header) {
  const { notices } = await ask("/lab/notices");
  const unread = notices.filter(({ key }) => !wasRead(key));
  if (!unread.length) return;
  const place = h("section.lab-notices.lab-island", { "aria-label": "About this lab" });
  place.append(...unread.map((notice) => shown(notice, place)));
  header.after(place);
}

function shown(notice, place) {
  const hide = () => {
    noteRead(notice.key);
    line.remove();
    if (!place.childElementCount) place.remove();
    document.querySelector("main.contain")?.focus();
  };
  const link = notice.link && h("a", { href: notice.link, target: "_blank", rel: "noopener" }, notice.link_text, h("span.lab-visually-hidden", {}, " (opens a new tab)"));
  const line = h(
    "div.lab-notice",
    { "data-notice": notice.key },
    h("p", {}, notice.text, link ? " " : null, link || null),
    h("button.lab-button.quiet", { type: "button", onclick: hide, "aria-label": `Hide: ${notice.text}` }, "Hide"),
  );
  return line;
}

const name = (key) => `lab-notice-${key}`;

function wasRead(key) {
  try {
    return sessionStorage.getItem(name(key)) !== null;
  } catch {
    return false; // in a frame whose storage is blocked
  }
}

function noteRead(key) {
  try {
    sessionStorage.setItem(name(key), "read");
  } catch {
    // it is shown again on the next page
  }
}
