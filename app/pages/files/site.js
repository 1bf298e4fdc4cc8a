// Shows times in the reader's own zone. Every page is complete without it.
const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })
for (const time of document.querySelectorAll("time[datetime*='T']")) {
  time.title = time.textContent
  time.textContent = shown.format(new Date(time.dateTime))
}

for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false
  button.addEventListener("click", () => window.print())
}
