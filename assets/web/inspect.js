// The page Inspect: any text, any finished run, any SAE of its model. Everything chosen stands in the address, so that a link restores it.
import { ask, empty, h, problem, remember, runAddress } from "/lab/assets/dom.js";
import { followActivity } from "/lab/assets/activity.js";
import { aboutDamage, damage, worstOf } from "/lab/assets/damage.js";
import { featureView } from "/lab/assets/feature.js";
import { features } from "/lab/assets/features.js";
import { inputs } from "/lab/assets/inspect_inputs.js";
import { cannotChange, inStream, remarks, unknownText } from "/lab/assets/inspect_notices.js";
import { placeOf } from "/lab/assets/inspect_words.js";
import { pinButton } from "/lab/assets/pins.js";
import { sentencesFor } from "/lab/assets/sentences.js";
import { steerView } from "/lab/assets/steer.js";
import { style } from "/lab/assets/style.js";
import { tabs } from "/lab/assets/tabs.js";
import { textView } from "/lab/assets/text_view.js";

const STYLES = ["inspect", "heatmap", "tokencard", "features", "feature", "steer"];
const PATIENCE_MS = 3000; // a first look that takes longer is loading the model
const FINISHED = ["succeeded", "stopped"];
const TABS = { tokens: "Text", feature: "Feature", steer: "Steer", replay: "Replay" };

export async function mount(element) {
  await Promise.all(STYLES.map(style));
  const page = inspectPage();
  element.replaceChildren(page.element);
  page.start();
  return page.leave;
}

function inspectPage() {
  const address = new URL(location.href).searchParams;
  // What is chosen. Feature and token are numbers or null; token is an index into the text.
  const view = { run: address.get("run"), sae: null, text: address.get("text"), feature: whole(address.get("feature")), token: whole(address.get("token")), tab: address.get("tab") in TABS ? address.get("tab") : "tokens" };
  let [run, saes, comparison, looked, opened, leaveActivity] = [null, [], null, 0, new Map(), () => {}];

  const form = inputs({ run: changeRun, sae: (sae) => look({ sae }), look: (text) => look({ text }), link: write });
  const notices = h("div.inspect-notices", { "aria-live": "polite" });
  const summary = h("div.inspect-summary");
  const stream = h("p.lab-note.inspect-stream");
  const told = h("div", { "aria-live": "polite" });
  const list = features({ choose: chooseFeature, open: openFeature, take: backFromList });
  const text = textView({ token: chooseToken, step: (by) => chooseFeature(list.neighbour(by)), clear: () => chooseFeature(null), counted: summarise });
  const details = featureView({ choose: openFeature, read: (words) => look({ text: words, tab: "tokens" }) });
  const steer = steerView({ prompt: firstWords });
  const about = aboutDamage();
  const replay = h("div.inspect-replay");
  const bar = tabs(TABS, chooseTab);
  const choose = h("button.lab-button.inspect-choose", { type: "button", onclick: toList }); // where the list lies below the panes
  let pin = null;
  let due = { feature: null, token: null }; // asked for, not yet chosen: it keeps its place in the address
  const panel = h("div.inspect-panel", { role: "tabpanel", id: "inspect-panel", "aria-labelledby": bar.idOf(view.tab) });
  const body = h("div.inspect-body", {}, list.element, h("div.inspect-main", {}, stream, choose, bar.element, told, panel));
  const results = h("div.inspect-results", {}, skeleton());
  const element = h(
    "div.inspect",
    {},
    h("header.inspect-head", {}, h("h1", {}, "Look inside"), form.share, h("p.lab-note", {}, "Any text, read by the original and by the adapted model with the same SAE in the stream: where the SAE hurts, where the adapter heals, which features stayed.")),
    form.element,
    notices,
    results,
  );

  // Opening

  async function start() {
    try {
      const { runs, example } = await ask("/lab/runs");
      const own = runs.filter(({ state, run_id }) => FINISHED.includes(state) && run_id !== example?.run_id);
      view.run ??= (example ?? own[0])?.run_id ?? null;
      if (!view.run) return results.replaceChildren(empty("There is no finished run to look into yet. The pocket adaptation takes a few minutes.", { href: "/", text: "Start one" }));
      await openRun(own, example);
    } catch (error) {
      results.replaceChildren(h("div.lab-stack", {}, problem(error), h("div.lab-row", {}, h("a.lab-button", { href: "/runs" }, "Your runs"), h("a.lab-button", { href: "/inspect" }, "Look into the example"))));
    }
  }

  async function openRun(own, example) {
    run = await ask(runAddress(view.run));
    form.offerRuns(own, example, run);
    const model = run.config.model.model;
    form.offerSentences(model);
    view.text ??= run.pins?.text || sentencesFor(model)[0].text;
    form.write(view.text);
    pin = pinButton(run, () => ({ text: comparison.text, feature: view.feature === null ? null : { ...nameOf(comparison.sae), feature: view.feature } }), (words) => told.replaceChildren(words));
    const asked = address.get("sae_id") === null ? null : { release: address.get("release") ?? "", sae_id: address.get("sae_id") };
    const listing = ask(runAddress(view.run, "/saes")).then(({ saes: offered, opening }) => {
      saes = offered;
      form.offerSaes(saes);
      return opening;
    });
    const opening = await listing.catch((error) => void notices.append(problem(error)));
    await look({ sae: asked ?? opening ?? null, feature: view.feature, token: view.token });
  }

  // Another run is another address: everything is read from it again; the text comes along.
  function changeRun(id) {
    const url = new URL(location.href);
    url.search = "";
    for (const [name, value] of Object.entries({ run: id, text: form.text(), tab: view.tab })) if (value) url.searchParams.set(name, value);
    location.href = url;
  }

  // Looking at a text through an SAE

  async function look(change) {
    const mine = ++looked;
    const next = { sae: view.sae, text: view.text, tab: view.tab, feature: null, token: null, ...change };
    next.text = form.write(next.text);
    form.busy(true);
    notices.replaceChildren();
    const patience = comparison ? null : setTimeout(() => mine === looked && notices.append(h("p.inspect-notice", {}, "The model is being loaded, a few seconds.")), PATIENCE_MS);
    results.setAttribute("aria-busy", "true");
    try {
      const answer = await compared(next).finally(() => clearTimeout(patience));
      if (mine !== looked) return;
      Object.assign(view, next, { sae: nameOf(answer.sae) });
      show(answer);
    } catch (error) {
      if (mine === looked) {
        notices.replaceChildren(problem(error));
        if (next.sae && !comparison) notices.append(h("div.lab-row", {}, h("button.lab-button", { type: "button", onclick: () => look({ sae: null }) }, "Look through the run's own SAE")));
        if (!comparison) results.replaceChildren();
      }
    }
    if (mine !== looked) return;
    form.busy(false);
    results.removeAttribute("aria-busy");
  }

  function show(answer) {
    comparison = answer;
    opened = new Map(); // what was opened by number was read on another text
    form.chooseSae(answer.sae);
    notices.replaceChildren(...unknownText(answer, form.tries()), ...remarks(answer));
    stream.replaceChildren(...inStream(answer, saes, look));
    list.show(answer, cannotChange(answer, saes, look));
    text.show(answer);
    if (!body.isConnected) results.replaceChildren(summary, body);
    summarise(text.specials);
    const token = view.token !== null && view.token < answer.tokens.length ? view.token : worstOf(answer.tokens);
    const feature = view.feature;
    [view.token, view.feature] = [null, null];
    due = { feature, token };
    chooseTab(view.tab);
    if (token !== null) chooseToken(token, "jump");
    if (feature !== null) openFeature(feature);
    write();
    learn(answer);
  }

  // Labels, densities and fates come with a pass over held-out text; when it is through, what is shown is completed, and nothing moves.
  function learn(answer) {
    leaveActivity();
    list.pass(null);
    if (answer.activity?.ready !== false) return;
    list.pass(0, 0);
    leaveActivity = followActivity(view.run, answer.sae, {
      progress(done, total) {
        list.pass(done, total);
        details.progress(done, total);
      },
      async ready() {
        list.pass(null);
        const more = await compared({ sae: answer.sae, text: answer.text }).catch(() => null);
        if (!more || comparison !== answer) return;
        comparison.features = more.features;
        list.learn(more);
        list.choose(view.feature);
        text.feature(featureNow(), pin.element);
        refresh();
      },
      problem(error) {
        list.pass(null);
        details.problem(error);
      },
    });
  }

  const compared = ({ sae, text }) => ask(runAddress(view.run, `/compare?${new URLSearchParams({ text, ...(sae ? nameOf(sae) : {}) })}`));

  function summarise(specials) {
    summary.replaceChildren(damage(comparison, specials, (index) => {
      if (view.tab !== "tokens" && view.tab !== "feature") chooseTab("tokens");
      text.jump(index);
    }));
  }

  // Choosing

  const featureNow = () => (view.feature === null ? null : (comparison.features.find(({ feature }) => feature === view.feature) ?? opened.get(view.feature) ?? null));

  function chooseFeature(feature) {
    view.feature = feature;
    due.feature = null;
    told.replaceChildren();
    list.choose(feature);
    pin.draw();
    text.feature(featureNow(), pin.element);
    later(write);
    refresh();
  }

  // On a narrow screen the list lies far below the panes: a button leads there, and what is picked leads back.
  function toList() {
    list.element.scrollIntoView();
    list.element.focus({ preventScroll: true });
  }
  function backFromList() {
    if (!choose.offsetParent || view.feature === null) return;
    bar.element.scrollIntoView();
    choose.focus({ preventScroll: true });
  }

  // By number: it may be silent on this text or not among those listed; then it is asked for.
  async function openFeature(feature) {
    if (comparison.features.some((one) => one.feature === feature) || opened.has(feature)) return chooseFeature(feature);
    const on = comparison;
    try {
      const { before, after, label, status, density } = await ask(runAddress(view.run, `/feature?${new URLSearchParams({ ...nameOf(view.sae), feature, text: on.text })}`));
      if (on !== comparison) return;
      const row = { feature, before, after, change: before.reduce((sum, x, i) => sum + Math.abs(after[i] - x), 0), max: Math.max(...before, ...after), density: density?.before ?? null, label, status, opened: true };
      opened.set(feature, row);
      list.add(row);
      chooseFeature(feature);
    } catch (error) {
      if (on === comparison) due.feature = null;
      told.replaceChildren(problem(error));
    }
  }

  function chooseToken(index, how) {
    view.token = index;
    due.token = null;
    text.token(index);
    list.token(index, how === "pointer");
    details.token(index);
    later(write);
  }

  function chooseTab(tab) {
    if (view.tab === "steer" && tab !== "steer") {
      steer.stop();
      steer.forget();
    }
    view.tab = tab;
    bar.choose(tab);
    panel.setAttribute("aria-labelledby", bar.idOf(tab));
    body.dataset.tab = tab;
    const content = { tokens: [text.element, about], feature: [text.element, details.element], steer: [steer.element], replay: [replay] }[tab];
    if (panel.childElementCount !== content.length || content.some((part, i) => part !== panel.children[i])) panel.replaceChildren(...content);
    write();
    refresh();
    if (tab === "replay") openReplay();
  }

  // The parts that ask the lab about the chosen feature, a moment after the last choice: arrow keys run through the list faster.
  let waiting;
  function refresh() {
    clearTimeout(waiting);
    const what = { run: view.run, ...nameOf(view.sae), text: comparison.text, feature: view.feature };
    if (view.tab === "feature") waiting = setTimeout(() => details.show(what, view.token), 120);
    else details.stop();
    if (view.tab === "steer") steer.show({ ...what, place: placeOf(comparison.sae) }, view.feature);
    bar.name("feature", view.feature === null ? "Feature" : `Feature ${view.feature}`);
    choose.textContent = view.feature === null ? "Choose a feature" : "Choose another feature";
  }

  let leaveReplay = null;
  async function openReplay() {
    if (leaveReplay) return;
    try {
      const { mount: mountReplay } = await import("/lab/assets/replay.js");
      leaveReplay = (await mountReplay(replay, { run: view.run })) ?? (() => {});
    } catch (error) {
      console.error(error);
      replay.replaceChildren(problem(new Error("The replay could not be shown. Reload the page.")));
    }
  }

  function firstWords() {
    const words = comparison?.text.split(/(?<=\s)/) ?? [];
    return words.slice(0, Math.max(3, Math.min(12, Math.floor(words.length / 2)))).join("").trimEnd();
  }

  function write() {
    if (!comparison) return;
    remember({ run: view.run, ...nameOf(view.sae), text: view.text, feature: view.feature ?? due.feature, token: view.token ?? due.token, tab: view.tab === "tokens" ? null : view.tab });
    if (view.tab === "steer") steer.keep();
  }

  function leave() {
    clearTimeout(waiting);
    leaveActivity();
    details.stop();
    steer.stop();
    form.close();
    leaveReplay?.();
  }

  return { element, start, leave };
}

const nameOf = ({ release, sae_id }) => ({ release, sae_id });
const whole = (words) => (/^\d{1,9}$/.test(words ?? "") ? Number(words) : null);

// Browsers limit how often a page may write its address; running through a list would exceed it.
let pending;
function later(write) {
  clearTimeout(pending);
  pending = setTimeout(write, 150);
}

const skeleton = () =>
  h(
    "div.inspect-skeleton",
    { role: "status" },
    h("p.lab-note", {}, "Both models read the text. The first look loads them, which takes some seconds."),
    ...[64, 40, 300].map((height) => h("div", { style: `height: ${height}px` })),
  );
