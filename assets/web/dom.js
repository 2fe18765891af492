// What every view shares: building elements from text (never from markup), asking the lab, showing numbers.

// h("p.lab-note", {title: "…"}, "text", child): an element. Strings become text nodes, so that no name or token is ever read as markup.
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return filled(document.createElement(tag || "div"), classes, attributes, children);
}

// The same for SVG.
export function svg(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), classes, attributes, children);
}

function filled(element, classes, attributes, children) {
  if (classes.length) element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Ask the lab; an answer that is a problem becomes an Error whose message is the lab's own sentence.
export async function ask(address, { method = "GET", body } = {}) {
  let answer;
  try {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    answer = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The lab does not answer. It may be restarting: your runs are safe, try again in a moment.");
  }
  const text = await answer.text();
  let content = {};
  try {
    content = JSON.parse(text);
  } catch {
    if (answer.ok) throw new Error("The lab gave an answer that cannot be read. Reload the page.");
  }
  if (!answer.ok) throw Object.assign(new Error(content.problem || `The lab answered with error ${answer.status}. Reload the page.`), { status: answer.status });
  return content;
}

export const runAddress = (run, rest = "") => `/lab/runs/${encodeURIComponent(run)}${rest}`;

// A sentence where a view would be: what is missing and the next click.
export const empty = (sentence, link) =>
  h("div.lab-empty", {}, h("p", {}, sentence), link ? h("a.lab-button", { href: link.href }, link.text) : null);

// The sentence of a problem, with the way to sign in where that is what is missing.
export const problem = (error) =>
  h("div.lab-problem.lab-stack", { role: "alert" }, error.message || String(error), error.status === 401 && signsIn() ? h("div.lab-row", {}, signInLink()) : null);

// Whether people sign in to this lab with Hugging Face.
export const signsIn = () => document.querySelector('meta[name="lab-access"]')?.content === "sign-in";

// Signing in leads away and back to this page. Inside another page's frame it opens a tab of its own, where the lab goes on.
export function signInLink(words = "Sign in with Hugging Face") {
  const framed = window.self !== window.top;
  const link = h("a.lab-button", framed ? { target: "_blank", rel: "noopener" } : {}, words);
  const aim = () => link.setAttribute("href", `/auth/sign-in?to=${encodeURIComponent(location.pathname + location.search)}`);
  for (const event of ["pointerdown", "focus", "mouseenter"]) link.addEventListener(event, aim); // the address may have changed meanwhile
  aim();
  return link;
}

// Numbers as the metrics table shows them (lorasae/metrics.py).
export function show(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "fraction") return `${(100 * value).toFixed(1)} %`;
  if (unit === "bytes") return value >= 1e9 ? `${(value / 1e9).toFixed(1)} GB` : `${Math.round(value / 1e6)} MB`;
  if (unit === "tokens/s" || unit === "tokens") return Math.round(value).toLocaleString("en");
  return unit === "nats/token" ? value.toFixed(4) : Number(value.toPrecision(3)).toString();
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  return seconds < 60 ? "just now" : `${seconds < 86400 ? duration(seconds) : `${Math.round(seconds / 86400)} d`} ago`;
}

// The table of metrics, fetched once a page.
let table;
export const metrics = () => (table ??= ask("/lab/metrics"));

// Colours by name, from the style sheet, so that light and dark are decided in one place.
export const colour = (name) => getComputedStyle(document.body).getPropertyValue(`--lab-${name}`).trim();

// The address bar says what is shown: a link restores it.
export function remember(parameters) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(parameters)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(null, "", url);
}
