// A token as it is read: always text, with spaces, line breaks and invisible characters made visible.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const named = (character) => {
  const code = character.codePointAt(0);
  return code < 32 ? String.fromCodePoint(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
};

// Inside a text: a space before a word stays a space, a token that is nothing but space becomes dots.
export function tokenText(token) {
  if (token === "") return "∅";
  const visible = token.replace(/\r\n|\r|\n/g, "↵").replace(/\t/g, "⇥").replace(INVISIBLE, named);
  return visible.trim() === "" ? visible.replace(/\s/g, "·") : visible;
}

// Inside a sentence; the space that starts a word is left out.
export const quoted = (token) => `“${tokenText(token).trim()}”`;

// Alone: the spaces at its ends are shown, too.
export const exact = (token) => tokenText(token).replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length));

// What a token is that holds only a part of a letter; "" for the others.
export const partWords = ({ part_of }) => (part_of ? `a part of the letter ${tokenText(part_of)}` : "");

// How many line breaks follow a token where it stands in a text.
export const breaksAfter = (token) => (token.match(/\r\n|\r|\n/g) ?? []).length;
