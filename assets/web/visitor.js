// Who is at the lab, where people sign in with Hugging Face: the link that leads there, and the way out.
import { choose } from "/lab/assets/dialog.js";
import { ask, h, signInLink, signsIn } from "/lab/assets/dom.js";

// -> what stands among the tools of the header: nothing where nobody signs in.
export function visitorTool() {
  if (!signsIn()) return null;
  const place = h("span.lab-visitor");
  show(place);
  return place;
}

async function show(place) {
  let who;
  try {
    who = await ask("/lab/visitor");
  } catch {
    return; // the page itself says that the lab does not answer
  }
  if (who.name) place.replaceChildren(h("button.lab-button.quiet", { type: "button", "aria-haspopup": "dialog", title: "You are signed in", onclick: () => tell(who) }, who.name));
  else if (who.can_sign_in) place.replaceChildren(signInLink("Sign in"));
}

function tell({ name, user_id, is_operator }) {
  choose({
    title: `Signed in as ${name}`,
    words: `Your runs are yours in every browser in which you sign in. What you publish goes to your own account, with a right that you gave this lab and that ends after some hours.${is_operator ? " You run this lab: no bounds are set to your runs." : ""}`,
    content: h("p.lab-note", {}, "Your user id on the Hub, by which the lab knows you: ", h("code", {}, user_id)),
    choices: [
      { text: "Stay", explains: "Nothing changes." },
      { text: "Sign out", explains: "Runs under way go on. You see them again when you sign in.", busy: "Signing out…", act: signOut },
    ],
  });
}

async function signOut() {
  await ask("/auth/sign-out", { method: "POST" });
  location.reload();
}
