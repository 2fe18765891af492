// The last lines of a run's log, on demand.
import { ask, h, problem, runAddress } from "/lab/assets/dom.js";

export function logTail(run) {
  const text = h("pre.log-text", { tabindex: 0, role: "region", "aria-label": "Log" });
  const note = h("span.lab-note", { role: "status" });
  const box = h(
    "details.log",
    { ontoggle: () => box.open && refresh() },
    h("summary", {}, "Log"),
    h(
      "div.lab-row",
      {},
      h("button.lab-button", { type: "button", onclick: refresh }, "Refresh"),
      h("a.lab-button", { href: runAddress(run.run_id, "/files/run.log"), download: true }, "Download"),
      note,
    ),
    text,
  );
  async function refresh() {
    try {
      const { text: lines, truncated } = await ask(runAddress(run.run_id, "/log?tail=20000"));
      text.textContent = lines || "The log is empty so far.";
      note.textContent = truncated ? "The last lines; the whole log is in the download." : "";
      text.scrollTop = text.scrollHeight;
    } catch (error) {
      text.replaceChildren(problem(error));
    }
  }
  return box;
}
