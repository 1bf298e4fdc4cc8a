// Leaves empty controls out of the address of a form, and says how old the data are. Every page is complete without it.
for (const form of document.querySelectorAll("form[data-omit-empty]")) {
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) if (value === "") formData.delete(name)
  })
}
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" })
for (const place of document.querySelectorAll("[data-since]")) {
  const hours = (new Date(place.dataset.since) - Date.now()) / 3_600_000
  place.textContent = ` (${Math.abs(hours) < 48 ? ago.format(Math.round(hours), "hour") : ago.format(Math.round(hours / 24), "day")})`
}
