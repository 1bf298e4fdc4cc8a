// Says when the study has changed. The page stays as it is until its reader asks for the new one. A page that nobody
// looks at holds no connection; when it is seen again, it asks what it has missed.
const news = document.querySelector("#news")
let known, source

const tell = () => {
  news.hidden = false
  source?.close()
}

const follow = async () => {
  source?.close()
  if (document.hidden || !news.hidden) return
  const answer = await fetch(news.dataset.study, { headers: { Accept: "application/json" } }).catch(() => undefined)
  if (!answer?.ok) return
  const { revision } = await answer.json()
  known ??= revision
  if (revision !== known) return tell()
  source = new EventSource(`${news.dataset.study}/changes/stream?from=${known}`)
  for (const kind of ["revision", "set_aside", "answer_changed"]) source.addEventListener(kind, tell)
}

document.addEventListener("visibilitychange", follow)
window.addEventListener("pagehide", () => source?.close())
follow()
