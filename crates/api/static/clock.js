// Keeps the times on a page true while it stays open: lengths of what runs, and "2 min ago". The
// wording is the server's.

function span(ms) {
  const seconds = Math.floor(Math.max(ms, 0) / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function relative(at, now) {
  const seconds = Math.trunc(Math.abs(now - at) / 1000);
  if (seconds >= 30 * 86400) return null;
  if (seconds < 5) return "just now";
  const told =
    seconds < 60 ? `${seconds} s`
    : seconds < 3600 ? `${Math.floor(seconds / 60)} min`
    : seconds < 86400 ? `${Math.floor(seconds / 3600)} h`
    : `${Math.floor(seconds / 86400)} d`;
  return at > now ? `in ${told}` : `${told} ago`;
}

function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("[data-since]")) {
    element.textContent = span(now - Number(element.dataset.since));
  }
  for (const element of document.querySelectorAll("time")) {
    const told = relative(Date.parse(element.dateTime), now);
    if (told !== null && element.textContent !== told) element.textContent = told;
  }
}

setInterval(tick, 1000);
