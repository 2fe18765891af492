// The tour's stops, in order. `page` with its query is where it is, `at` what it points to.
const RUN = { page: "/run", query: { run: "example" } };
const INSPECT = { page: "/inspect", query: { run: "example" } };

export const STEPS = [
  {
    page: "/",
    query: {},
    at: ".home-actions",
    title: "Two ways to begin",
    text: "The first button repairs the pocket model here and now, in about two minutes. The second opens a repair that is finished. The tour goes on with that one.",
  },
  {
    ...RUN,
    at: ".lab-run .result-number",
    title: "One number",
    text: "How much of the gap was closed. 0 % is the model with its dictionary as it was; 100 % would be as good as without. Under each number stands what it means.",
  },
  {
    ...RUN,
    at: ".lab-run .gap",
    title: "The gap as a picture",
    text: "The lower line is the model alone, the upper one the model with its dictionary. The marker started at the top, and training moved it down.",
  },
  {
    ...INSPECT,
    at: ".lab-inspect .heat",
    title: "Any text, before and after",
    text: "The same text before the repair, after it, and the change. The lines under the tokens show where the dictionary makes the model guess differently, and where the repair heals that. Choose a token to see its numbers.",
  },
  {
    ...INSPECT,
    at: ".lab-inspect .features",
    title: "Features that changed",
    text: "The features that changed most come first. Choose one to see where it is active, and whether it still means what it meant.",
  },
  {
    ...INSPECT,
    at: ".lab-inspect [role='tablist']",
    title: "Turn one up, and share",
    text: "Under Steer you turn a feature up and see how the original and the adapted model go on writing, with it and without. Whatever you look at is in the address of the page: send the link, and it shows the same again.",
  },
];

export const OFFER = "New here? A tour of six stops takes two minutes.";
