// Starts what every page has, and mounts live views ("islands"): every element with data-lab="NAME" gets NAME.js's mount(element, props),
// now and whenever one appears. It waits for no other script before it starts.
const script = (name) => import(`/lab/assets/${name}.js`);

// Gradio's config names a page's views before Gradio has drawn their places: their scripts come meanwhile.
for (const { props } of window.gradio_config?.components ?? []) {
  for (const [, name] of String(props?.value ?? "").matchAll(/data-lab="(\w+)"/g)) script(name).catch(() => {});
}

const mounted = new WeakMap();

async function mount(element) {
  if (mounted.has(element)) return;
  mounted.set(element, () => {});
  element.closest(".prose")?.classList.remove("prose", "gradio-style"); // Gradio's text style would colour everything inside
  let unmount;
  try {
    const view = await script(element.dataset.lab);
    unmount = await view.mount(element, JSON.parse(element.dataset.props || "{}"));
  } catch (error) {
    console.error(error);
    const { problem } = await script("dom");
    element.replaceChildren(problem(new Error("This part of the page could not be shown. Your runs are safe. Reload the page.")));
  }
  mounted.set(element, unmount || (() => {}));
  if (!element.isConnected) leave(element);
}

function leave(element) {
  mounted.get(element)?.();
  mounted.set(element, () => {});
}

const islandsIn = (node) =>
  node.nodeType !== 1 ? [] : [...(node.matches("[data-lab]") ? [node] : []), ...node.querySelectorAll("[data-lab]")];

new MutationObserver((changes) => {
  for (const change of changes) {
    if (change.type === "attributes") change.target.replaceWith(change.target.cloneNode(false)); // Gradio changed its data in place: mount anew
    for (const node of change.removedNodes) islandsIn(node).filter((element) => !element.isConnected).forEach(leave);
    for (const node of change.addedNodes) islandsIn(node).forEach(mount);
  }
}).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-props"] });
islandsIn(document.documentElement).forEach(mount);
script("header").then(({ header }) => header());
