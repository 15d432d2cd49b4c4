// A form is sent once, however often its button is pressed.

addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (button?.getAttribute("aria-disabled") === "true") event.preventDefault();
  button?.setAttribute("aria-disabled", "true");
});

// A page that the browser kept and shows again has not been sent.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-disabled]")) {
    button.removeAttribute("aria-disabled");
  }
});
