// Mounts live views ("islands"): every element with data-lab="NAME" gets NAME.js's mount(element, props), now and whenever one appears.
const mounted = new WeakMap();

async function mount(element) {
  if (mounted.has(element)) return;
  mounted.set(element, () => {});
  const view = await import(`/lab/assets/${element.dataset.lab}.js`);
  const unmount = await view.mount(element, JSON.parse(element.dataset.props || "{}"));
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
    for (const node of change.removedNodes) islandsIn(node).filter((element) => !element.isConnected).forEach(leave);
    for (const node of change.addedNodes) islandsIn(node).forEach(mount);
  }
}).observe(document.documentElement, { childList: true, subtree: true });
islandsIn(document.documentElement).forEach(mount);
