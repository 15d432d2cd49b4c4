// The log box: appends lines as they come and keeps the end in sight unless somebody scrolled up.

import { render } from "./ansi.js";

/** Lines that the page keeps; the download has all of them. */
const LINES_MAX = 5000;
/** How far from the end still counts as at the end, in pixels. */
const NEAR = 24;
/** Lines that come within this many milliseconds are drawn together. */
const GATHER_MS = 40;

export class Log {
  #box;
  #earlier = document.querySelector("#log-earlier");
  #empty = document.querySelector("#log-empty");
  #toEnd = document.querySelector("#log-end");
  #waiting = [];
  #timer = null;
  #follows = true;

  constructor(box) {
    this.#box = box;
    this.last = Number(box.dataset.last);
    this.step = box.dataset.step;
    box.addEventListener("scroll", () => this.#look(), { passive: true });
    this.#toEnd.addEventListener("click", () => this.scrollToEnd());
    if (location.hash === "") this.scrollToEnd();
    else this.#look();
  }

  /** Takes a line unless the page has it already. */
  add(line) {
    if (line.n <= this.last) return;
    this.last = line.n;
    this.#waiting.push(line);
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  /** Draws what waits. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#waiting.length === 0) return;
    const drawn = document.createDocumentFragment();
    for (const line of this.#waiting) this.#draw(line, drawn);
    this.#waiting = [];
    this.#empty.hidden = true;
    this.#box.append(drawn);
    this.#trim();
    if (this.#follows) this.scrollToEnd();
    else this.#look();
  }

  scrollToEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#look();
  }

  #look() {
    const box = this.#box;
    this.#follows = box.scrollHeight - box.scrollTop - box.clientHeight <= NEAR;
    this.#toEnd.hidden = this.#follows;
  }

  #draw(line, into) {
    if (line.step !== null && line.step !== this.step) {
      this.step = line.step;
      into.append(element("div", "log-step", line.step));
    }
    const row = element("div", line.stream === "slipway" ? "line ours" : "line");
    row.id = `L${line.n}`;
    const gutter = element("a", "gutter", String(line.n));
    gutter.href = `#L${line.n}`;
    gutter.tabIndex = -1;
    gutter.title = line.time === null ? "" : `${line.time.slice(11, 19)} UTC`;
    const text = element("span", "text");
    render(line.text, text);
    row.append(gutter, text);
    into.append(row);
  }

  #trim() {
    const lines = this.#box.querySelectorAll(".line, .log-step");
    const surplus = lines.length - LINES_MAX;
    for (let index = 0; index < surplus; index += 1) lines[index].remove();
    if (surplus > 0) this.#earlier.hidden = false;
  }
}

function element(name, classes, text) {
  const made = document.createElement(name);
  made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}
