// Drops, recognises, rehearses and loads a file without leaving the page. The form does the same without a script;
// here a large file is sent in parts, and a bar shows how far it is.
const PART = 2_000_000
const HEAD = 1_000_000
const IN_LINES = new Set(["csv", "ndjson", "hl7v2"])
const form = document.getElementById("add")

if (form) {
  const { file, format, delimiter, table } = form.elements
  const outcomes = document.getElementById("outcomes")
  const drop = form.querySelector(".drop")
  for (const hint of form.querySelectorAll("[data-only-with-script]:not(#progress)")) hint.hidden = false

  const asked = async (action, content, name, more = {}) => {
    const data = new FormData(form)
    for (const [key, value] of Object.entries({ do: action, rehearsed: "", ...more })) data.set(key, value)
    data.set("file", content, name)
    const answer = await fetch(form.action, { method: "POST", body: data, credentials: "same-origin" })
    return new DOMParser().parseFromString(await answer.text(), "text/html")
  }

  const recognised = async () => {
    const chosen = file.files[0]
    if (!chosen) return null
    const page = await asked("recognise", chosen.slice(0, HEAD), chosen.name)
    const kind = page.getElementById("kind")
    const found = kind?.querySelector("[data-format]")
    const shown = found ? kind : page.querySelector("#outcome p.refused")
    document.getElementById("kind").replaceChildren(...(shown?.childNodes ?? []))
    return found ? { ...found.dataset } : null
  }

  const chose = () => {
    outcomes.replaceChildren()
    document.querySelector("main > #outcome")?.remove()
    format.value = delimiter.value = table.value = ""
    form.elements.rehearsed.value = ""
    recognised().catch(() => {})
  }
  file.addEventListener("change", chose)
  for (const name of ["dragenter", "dragover"])
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over") })
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"))
  drop.addEventListener("drop", (event) => {
    event.preventDefault()
    if (event.dataTransfer.files.length) { file.files = event.dataTransfer.files; chose() }
  })

  // Where a part of the file may end: after a line that is complete; in HL7 v2, before a message begins; in a table,
  // outside of quotes.
  const endOf = (text, kind, last) => {
    if (last) return text.length
    if (kind === "hl7v2") return Math.max(text.lastIndexOf("\rMSH|"), text.lastIndexOf("\nMSH|")) + 1
    if (kind !== "csv") return text.lastIndexOf("\n") + 1
    let quoted = false, end = 0
    for (let place = 0; place < text.length; place += 1) {
      if (text[place] === '"') quoted = !quoted
      else if (text[place] === "\n" && !quoted) end = place + 1
    }
    return end
  }

  // The bytes are read as Latin-1, so that a place in the text is a place in the file.
  async function* parts(whole, kind) {
    const latin = new TextDecoder("latin1")
    const text = async (from, to) => latin.decode(await whole.slice(from, to).arrayBuffer())
    const first = kind === "csv" ? await text(0, HEAD) : ""
    const header = first.slice(0, first.indexOf("\n") + 1).length
    for (let from = header; from < whole.size;) {
      let size = PART, end = 0
      while (end === 0) {
        const to = Math.min(from + size, whole.size)
        end = endOf(await text(from, to), kind, to === whole.size)
        size *= 2
        if (end === 0 && size > Number(form.dataset.most)) throw new Error("A line or a message is too long to be sent.")
      }
      yield { content: new Blob([whole.slice(0, header), whole.slice(from, from + end)]), done: from + end }
      from += end
    }
  }

  const message = (text) => {
    const shown = document.createElement("p")
    shown.className = "refused"
    shown.setAttribute("role", "alert")
    shown.textContent = text
    return shown
  }

  const progress = document.getElementById("progress")
  const bar = document.getElementById("bar")
  const tell = (text, share) => {
    progress.hidden = false
    document.getElementById("progress-text").textContent = text
    if (share === undefined) bar.removeAttribute("value")
    else bar.value = 100 * share
  }
  const SUMS = ["kept", "notApplied", "setAside", "notOurs", "refused"]
  const NAMES = ["kept", "not applied", "set aside", "not ours", "refused"]

  const inParts = async (action, whole, kind) => {
    const sums = SUMS.map(() => 0)
    const title = document.createElement("h2")
    outcomes.append(title)
    title.tabIndex = -1
    const links = document.createElement("p")
    links.className = "next"
    outcomes.append(links)
    let number = 0
    for await (const { content, done } of parts(whole, kind.format)) {
      number += 1
      const page = await asked(action, content, whole.name, kind)
      const part = page.getElementById("outcome") ?? page.querySelector(".fault")
      const counts = SUMS.map((name) => Number(part?.dataset?.[name] ?? 0))
      counts.forEach((count, place) => { sums[place] += count })
      if (part) {
        part.removeAttribute("id")
        const row = document.createElement("details"), summary = document.createElement("summary")
        summary.textContent = `Part ${number}: ${listed(counts)}`
        row.append(summary, part)
        outcomes.append(row)
        part.querySelector("#outcome-title")?.removeAttribute("id")
        for (const link of part.querySelectorAll(".next a"))  // those of the first part lead to what all parts changed
          if (![...links.children].some((known) => known.textContent === link.textContent)) links.append(link.cloneNode(true))
      }
      tell(`${action === "load" ? "Loading" : "Rehearsing"} part ${number}`, done / whole.size)
      if (!part?.dataset?.kept) {
        outcomes.append(message(`It stopped at part ${number}. Load the file again later: what is stored stays, and is not stored twice.`))
        break
      }
    }
    title.textContent = `${action === "load" ? "Loaded" : "Rehearsal, nothing is stored"}: ${listed(sums)}`
    title.focus()
  }
  const listed = (counts) => counts.map((count, place) => `${count.toLocaleString("en")} ${NAMES[place]}`).join(", ")

  const atOnce = async (action, whole) => {
    tell(action === "load" ? "Loading" : "Rehearsing")
    const page = await asked(action, whole, whole.name)
    const outcome = page.getElementById("outcome") ?? page.querySelector(".fault")
    if (!outcome) throw new Error("The service did not answer as expected. Try again.")
    outcomes.append(document.adoptNode(outcome))
    const kind = page.getElementById("kind")
    if (kind) document.getElementById("kind").replaceWith(document.adoptNode(kind))
    outcome.focus()
  }

  const shownAgain = async () => {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html")
    const fresh = page.getElementById("arrived")?.closest("section")
    if (fresh) document.getElementById("arrived")?.closest("section").replaceWith(document.adoptNode(fresh))
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    const action = event.submitter?.value ?? "rehearse"
    const whole = file.files[0]
    if (!whole) return
    const buttons = form.querySelectorAll("button")
    outcomes.replaceChildren()
    document.querySelector("main > #outcome")?.remove()
    for (const button of buttons) button.disabled = true
    try {
      if (whole.size <= PART) await atOnce(action, whole)
      else {
        const chosen = { format: format.value, delimiter: delimiter.value, table: table.value }
        const found = format.value ? chosen : await recognised()
        if (found && IN_LINES.has(found.format)) await inParts(action, whole, { ...found, table: table.value || found.table })
        else if (whole.size < Number(form.dataset.most)) await atOnce(action, whole)
        else outcomes.append(message("This file is too large for a browser. Load it on the machine of the service: python -m app import"))
      }
      if (action === "load") await shownAgain()
    } catch (error) {
      outcomes.append(message(error instanceof TypeError ? "The service cannot be reached. Try again." : error.message))
    } finally {
      progress.hidden = true
      for (const button of buttons) button.disabled = false
      const main = action === "load" ? null : form.querySelector("button[value=load]")
      for (const button of buttons) button.classList.toggle("main", main ? button === main : button.value === "rehearse")
    }
  })
}
