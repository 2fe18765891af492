// The deeper lane of the first page: method, conditions with their formulas, what differs from the authors' code, commands.
import { h, metrics, problem, show } from "/lab/assets/dom.js";

const PAPER = "https://arxiv.org/abs/2501.19406";
const CONDITIONS = [
  ["original", "off", "no", "ce_original"],
  ["original + SAE", "off", "yes", "ce_original_sae"],
  ["adapted + SAE", "on", "yes", "ce_adapted_sae"],
  ["adapted", "on", "no", "ce_adapted"],
];
const DERIVED = ["ce_gap_before", "ce_gap_after", "gap_closed", "kl_adapted_sae", "ce_change_adapted", "loss_recovered_adapted_sae"];
const COMMANDS = `make demo                                   # the pocket adaptation in a terminal
python -m lorasae adapt                     # the same settings, step by step
python -m lorasae adapt --preset paper      # the authors' effective update
python -m lorasae eval RUN                  # measure again
python -m lorasae inspect RUN --text "…"    # features and tokens side by side`;

// -> {element, fill(run)}; the table is written when the lane is first opened.
export function researchers() {
  const numbers = h("div.lab-scroll");
  const setting = h("p");
  const trouble = h("div");
  let [run, opened] = [null, false];
  const element = h(
    "details.lab-more.home-deeper",
    { ontoggle: open },
    h("summary", {}, "For researchers: method, conditions, formulas, commands"),
    h(
      "div.deeper-body",
      {},
      h("section", {}, h("h2", {}, "Method"), ...method(), setting),
      h("section", {}, h("h2", {}, "What is measured"), trouble, numbers),
      h("section", {}, h("h2", {}, "What differs from the authors' code"), differences()),
      h("section", {}, h("h2", {}, "Commands"), h("pre", { tabindex: 0, "aria-label": "Commands" }, h("code", {}, COMMANDS)), h("p.lab-note", {}, "Every run's page offers its settings as YAML, its metrics as CSV and JSON, and the adapter in PEFT format.")),
    ),
  );

  async function open() {
    if (!element.open || opened) return;
    opened = true;
    try {
      const { metrics: table } = await metrics();
      numbers.replaceChildren(conditions(table, run), formulas(table, run));
    } catch (error) {
      opened = false;
      trouble.replaceChildren(problem(error));
    }
  }

  function fill(example) {
    run = example;
    const [sae] = run.saes;
    const { adapter, train, data } = run.config;
    setting.textContent = `The example: ${run.config.model.model} with ${sae.release} ${sae.sae_id} at ${sae.hook_point} (${sae.d_sae} features, L0 ${show(sae.l0, "")}), adapter of rank ${adapter.rank}, placement ${adapter.placement}, ${train.tokens.toLocaleString("en")} tokens, learning rate ${train.learning_rate}, context ${data.context_length}, seed ${run.config.seed}; measured on ${show(run.heldout.n_tokens, "tokens")} held-out tokens in ${run.heldout.n_sequences} sequences.`;
  }

  return { element, fill };
}

function method() {
  return [
    h("p", {}, "Chen, Engels and Tegmark, ", h("a", { href: PAPER, rel: "noreferrer" }, "Low-Rank Adapting Models for Sparse Autoencoders"), " (ICML 2025, arXiv 2501.19406). The SAE and the base weights stay frozen. LoRA matrices on the layers are trained with the SAE's reconstruction spliced into the stream, to minimise the mean over scored tokens of"),
    h("p.deeper-formula", {}, "KL( p", h("sub", {}, "original"), " ‖ p", h("sub", {}, "adapted + SAE"), " )"),
    h("p", {}, "in nats per token, in fp32 whatever the precision of the weights. With placement “after”, the adapter lies only on layers above the SAE, so the features at the SAE itself cannot change; those of SAEs above it can."),
  ];
}

function conditions(table, run) {
  const head = ["condition", "adapter", "SAE in the stream", "CE, nats/token"].map((name) => h("th", { scope: "col" }, name));
  const rows = CONDITIONS.map(([name, adapter, sae, key]) => h("tr", {}, h("th", { scope: "row", title: table[key]?.formula }, name), h("td", {}, adapter), h("td", {}, sae), h("td", {}, measured(run, key, table))));
  return h("table.lab-table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

function formulas(table, run) {
  const rows = DERIVED.filter((key) => table[key]).map((key) => h("tr", {}, h("th", { scope: "row" }, table[key].label), h("td", {}, h("code", {}, table[key].formula)), h("td", {}, measured(run, key, table))));
  const head = ["quantity", "formula", "example run"].map((name) => h("th", { scope: "col" }, name));
  return h("table.lab-table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
}

// With one standard error over held-out sequences.
function measured(run, key, table) {
  const result = run?.results?.[key];
  if (!result || result.value === null) return "–";
  const { unit } = table[key];
  const error = unit === "fraction" ? `${Number((100 * result.standard_error).toPrecision(2))} %` : show(result.standard_error, unit);
  return h("span.lab-number.deeper-number", {}, `${show(result.value, unit)} ± ${error}`);
}

function differences() {
  return h(
    "ul",
    {},
    h("li", {}, "KL is averaged over scored tokens. The authors sum it over positions and clip the gradient norm at 1, which at that scale is nearly always reached; the preset “paper” keeps exactly that."),
    h("li", {}, "Positions of BOS, EOS and padding are not passed through the SAE and not scored: one policy for training, measuring and inspecting. The research scripts each have their own."),
    h("li", {}, "Held out by document, decided by a hash of its text, so that no held-out document is trained on. Theirs cuts one stream of tokens."),
    h("li", {}, "Measured L0, variance explained and place are checked against what the SAE's publisher states, before training."),
    h("li", {}, "Every number comes with its standard error, by the jackknife over held-out sequences."),
  );
}
