// The page of a deployment, live: log lines as they come, and the parts about status and steps
// fetched again when one of them changed. Without this script a reload shows the same.

import { Log } from "./log.js";

/** How often a place in the queue is looked at: others move without an event of this deployment. */
const QUEUE_MS = 5000;

const page = document.querySelector("#deployment");
const state = document.querySelector("#log-state");
const announcer = document.querySelector("#announcer");
const log = new Log(document.querySelector("#log"));
const { id } = page.dataset;
let refreshing = null;
let isStale = false;

if (page.dataset.open === "true") follow();

function follow() {
  const events = new EventSource(`/api/v1/deployments/${id}/events?after=${log.last}`);
  events.addEventListener("open", () => say("Live"));
  events.addEventListener("log", (event) => log.add(JSON.parse(event.data)));
  events.addEventListener("status", refresh);
  events.addEventListener("step", refresh);
  const queue = setInterval(() => {
    if (badge() === "Queued" && document.visibilityState === "visible") refresh();
  }, QUEUE_MS);
  events.addEventListener("end", () => {
    events.close();
    clearInterval(queue);
    log.flush();
    say("");
    refresh();
  });
  events.addEventListener("error", () => {
    const isOver = events.readyState === EventSource.CLOSED;
    say(isOver ? "Connection lost; reload the page" : "Connecting again…");
  });
}

function say(text) {
  state.textContent = text;
}

/** Fetches the changing parts; changes that come meanwhile lead to one more fetch, not to many. */
function refresh() {
  isStale = true;
  refreshing ??= (async () => {
    while (isStale) {
      isStale = false;
      await fetchParts();
    }
  })()
    .catch(() => say("Connecting again…"))
    .finally(() => {
      refreshing = null;
    });
}

async function fetchParts() {
  const answer = await fetch(`/deployments/${id}/fragment`);
  if (answer.redirected) location.reload();
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const before = badge();
  swap("overview", fresh);
  swap("steps", fresh);
  const after = badge();
  if (after !== before) {
    announcer.textContent = `Deployment #${id}: ${after}`;
    document.title = document.title.replace(/^(?:[^#]+ )?#/, `${after} #`);
  }
}

function badge() {
  return document.querySelector("#overview .badge").textContent;
}

/** Replaces a part; what was unfolded stays so, and a button that had the focus keeps it. */
function swap(name, fresh) {
  const old = document.getElementById(name);
  const part = document.adoptNode(fresh.getElementById(name));
  const folds = new Map();
  for (const fold of old.querySelectorAll("details")) folds.set(title(fold), fold.open);
  for (const fold of part.querySelectorAll("details")) {
    fold.open = folds.get(title(fold)) ?? fold.open;
  }
  const hadFocus = old.contains(document.activeElement);
  old.replaceWith(part);
  if (hadFocus) part.querySelector("button")?.focus();
}

function title(fold) {
  return fold.querySelector("summary").textContent;
}
