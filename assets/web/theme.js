// Light, dark, or as the system: the choice is kept in this browser. Gradio puts the class `dark` on the body by itself, as the system says;
// here the choice is put over it, on the whole document, and told to whoever draws with colours (`lab:theme`).
const KEY = "lab-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

export const THEMES = { light: "light", dark: "dark", system: "as the system" };

export function chosen() {
  const kept = stored();
  if (kept in THEMES) return kept;
  const asked = new URL(location.href).searchParams.get("__theme"); // how a page that frames the lab asks
  return asked in THEMES ? asked : "system";
}

export function choose(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // a browser that keeps nothing: the choice lasts as long as the page
    document.documentElement.dataset.labTheme = theme;
  }
  apply();
}

export function start() {
  system.addEventListener("change", apply);
  addEventListener("storage", (event) => event.key === KEY && apply());
  new MutationObserver(apply).observe(document.body, { attributeFilter: ["class"] });
  apply();
}

function apply() {
  const theme = chosen();
  const dark = theme === "dark" || (theme === "system" && system.matches);
  const changed = document.documentElement.classList.contains("dark") !== dark;
  for (const element of [document.documentElement, document.body]) {
    if (element.classList.contains("dark") !== dark) element.classList.toggle("dark", dark);
  }
  if (changed) document.dispatchEvent(new CustomEvent("lab:theme", { detail: { dark } }));
}

function stored() {
  try {
    return localStorage.getItem(KEY) ?? document.documentElement.dataset.labTheme;
  } catch {
    return document.documentElement.dataset.labTheme;
  }
}
