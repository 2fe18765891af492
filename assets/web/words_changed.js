// Which words of a text are not, in their order, in another: the longest common subsequence stays unmarked.

// -> [[piece, changed], …]; the pieces put together are the text again
export function differing(plain, text) {
  const pieces = text.match(/\s*\S+|\s+$/g) ?? [];
  const others = plain.match(/\S+/g) ?? [];
  const words = pieces.map((piece) => piece.trim());
  const common = lengths(words, others);
  const marked = [];
  let [i, j] = [0, 0];
  while (i < words.length) {
    const same = words[i] === "" || (j < others.length && words[i] === others[j]);
    if (same) {
      marked.push([pieces[i], false]);
      j += words[i] === "" ? 0 : 1;
      i++;
    } else if (j < others.length && common[i][j + 1] >= common[i + 1][j]) j++;
    else marked.push([pieces[i++], true]);
  }
  return marked;
}

// common[i][j]: length of the longest common subsequence of words[i…] and others[j…]
function lengths(words, others) {
  const common = Array.from({ length: words.length + 1 }, () => new Uint16Array(others.length + 1));
  for (let i = words.length - 1; i >= 0; i--) {
    for (let j = others.length - 1; j >= 0; j--) {
      common[i][j] = words[i] === others[j] ? common[i + 1][j + 1] + 1 : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  return common;
}
