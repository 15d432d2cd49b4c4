// Colours of terminal output as class names: what the server does for the lines that it renders.

const TOKENS = new RegExp(
  "\\x1b\\[([0-?]*)([ -/]*)([@-~])|\\x1b\\][^\\x07\\x1b]*(?:\\x07|\\x1b\\\\)?|\\x1b.?" +
    "|[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f]",
  "gsu",
);
const EMPHASES = [[1, "a-b"], [2, "a-d"], [4, "a-i"], [8, "a-u"]];
const PLAIN = { emphasis: 0, front: null, back: null };
const CLEARED = { 22: 3, 23: 4, 24: 8 };

/** Puts a line's text into an element. Only text nodes and class names, never markup. */
export function render(line, element) {
  let style = { ...PLAIN };
  let run = "";
  let last = "";
  const flush = () => {
    if (run !== "") element.append(last === "" ? run : span(run, last));
    run = "";
  };
  const push = (text) => {
    if (text === "") return;
    const names = classes(style);
    if (names !== last) flush();
    last = names;
    run += text;
  };
  let at = 0;
  for (const token of line.matchAll(TOKENS)) {
    push(line.slice(at, token.index));
    at = token.index + token[0].length;
    if (token[3] === "m" && token[2] === "" && /^[0-9;:]*$/.test(token[1])) {
      style = applied(style, token[1]);
    }
  }
  push(line.slice(at));
  flush();
}

function span(text, names) {
  const span = document.createElement("span");
  span.className = names;
  span.textContent = text;
  return span;
}

function classes(style) {
  const names = EMPHASES.filter(([bit]) => style.emphasis & bit).map(([, name]) => name);
  if (style.front !== null) names.push(`a-f${style.front}`);
  if (style.back !== null) names.push(`a-g${style.back}`);
  return names.join(" ");
}

function applied(before, text) {
  let style = { ...before };
  const codes = text.split(";").filter((part) => !part.includes(":")).map(Number);
  while (codes.length > 0) {
    const code = codes.shift();
    if (code === 0) style = { ...PLAIN };
    else if (code <= 4) style.emphasis |= 1 << (code - 1);
    else if (code in CLEARED) style.emphasis &= ~CLEARED[code];
    else if (code === 38) style.front = extended(codes);
    else if (code === 48) style.back = extended(codes);
    else if (code === 39) style.front = null;
    else if (code === 49) style.back = null;
    else if (code >= 30 && code <= 37) style.front = code - 30;
    else if (code >= 40 && code <= 47) style.back = code - 40;
    else if (code >= 90 && code <= 97) style.front = code - 82;
    else if (code >= 100 && code <= 107) style.back = code - 92;
  }
  return style;
}

/** The colour after 38 or 48; the sixteen that have a class name are shown. */
function extended(codes) {
  const form = codes.shift();
  if (form === 2) codes.splice(0, 3);
  if (form !== 5) return null;
  const colour = codes.shift();
  return colour < 16 ? colour : null;
}
