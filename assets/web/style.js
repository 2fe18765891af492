// A view's own style sheet, added to the page once; the promise is kept when it has been read, so that nothing is shown undressed.
export function style(name) {
  const address = `/lab/assets/${name}.css`;
  const present = [...document.styleSheets].some((sheet) => sheet.href?.endsWith(address));
  if (present) return Promise.resolve();
  const link =
    document.querySelector(`link[href="${address}"]`) ??
    Object.assign(document.createElement("link"), { rel: "stylesheet", href: address });
  return new Promise((read) => {
    link.addEventListener("load", read, { once: true });
    link.addEventListener("error", read, { once: true });
    if (!link.isConnected) document.head.append(link);
  });
}
