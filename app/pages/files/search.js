// Searches while somebody types: one request after a pause, for the same page that the button opens.
const PAUSE = 250
for (const form of document.querySelectorAll("form[data-search]")) {
  let timer, asked
  const search = async () => {
    asked?.abort()
    asked = new AbortController()
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""))
    const address = `${form.action}${query.size ? "?" + query : ""}`
    const found = document.getElementById(form.dataset.search)
    found.setAttribute("aria-busy", "true")
    try {
      const answer = await fetch(address, { signal: asked.signal, headers: { Accept: "text/html" } })
      const page = new DOMParser().parseFromString(await answer.text(), "text/html")
      const fresh = page.getElementById(found.id)
      if (!fresh) return location.assign(address)
      found.replaceWith(fresh)
      history.replaceState(null, "", address)
    } catch (error) {
      if (error.name !== "AbortError") location.assign(address)
    }
  }
  const soon = () => {
    clearTimeout(timer)
    timer = setTimeout(search, PAUSE)
  }
  form.addEventListener("input", soon)
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    clearTimeout(timer)
    search()
  })
}
