// The page of the queue, live: its changing part is fetched again while somebody looks. Without this
// script a reload shows the same.

const EVERY_MS = 3000;

async function refresh() {
  const old = document.querySelector("#queue");
  // What somebody has reached with the keyboard stays where it is.
  if (document.visibilityState !== "visible" || old.contains(document.activeElement)) return;
  const answer = await fetch(`/queue/fragment${location.search}`);
  if (answer.redirected) location.reload();
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  old.replaceWith(document.adoptNode(fresh.querySelector("#queue")));
}

// An answer that does not come is asked for again the next time.
setInterval(() => refresh().catch(() => {}), EVERY_MS);
