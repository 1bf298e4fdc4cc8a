// An integration with the client of Medplum, unmodified: what it was answered, as JSON.
import { MedplumClient } from "@medplum/core"

const { BASE, KEY } = process.env
const client = new MedplumClient({ baseUrl: new URL("/", BASE).href, fhirUrlPath: new URL(BASE).pathname.slice(1) })
client.setAccessToken(KEY)
const [hospital, lab, loinc, ucum] = ["urn:oid:1.2.3.9", "urn:oid:1.2.3.4", "http://loinc.org", "http://unitsofmeasure.org"]

const person = { resourceType: "Patient", identifier: [{ system: hospital, value: "MED-1" }], gender: "female" }
const result = (value, number, day) => ({
  resourceType: "Observation",
  status: "final",
  identifier: [{ system: lab, value: number }],
  code: { coding: [{ system: loinc, code: "2157-6" }] },
  subject: { identifier: { system: hospital, value: "MED-1" } },
  effectiveDateTime: `2005-03-${day}T09:48:00+09:00`,
  valueQuantity: { value, unit: "U/L", system: ucum, code: "U/L" },
  referenceRange: [{ high: { value: 163, unit: "U/L", system: ucum, code: "U/L" } }],
})
const failure = async (call) => {
  try {
    return [await call()]
  } catch (error) {
    return error.outcome.issue[0]
  }
}

const patient = await client.upsertResource(person, { identifier: `${hospital}|MED-1` })
const same = await client.upsertResource(person, { identifier: `${hospital}|MED-1` })
const first = await client.createResource(result(1101, "med-1", 16))
const found = await client.createResourceIfNoneExist(result(5, "med-1", 16), `identifier=${lab}|med-1`)
const changed = await client.updateResource({ ...first, valueQuantity: { ...first.valueQuantity, value: 1200 } })
const upserted = await client.upsertResource(result(1300, "med-1", 16), { identifier: `${lab}|med-1` })
for (const day of [17, 18, 19]) await client.upsertResource(result(100 * day, `med-${day}`, day), { identifier: `${lab}|med-${day}` })
await client.invalidateAll()

const values = (resources) => resources.map((each) => each.valueQuantity.value)
const pages = []
const asked = { patient: patient.id, category: "laboratory", _sort: "-date", _count: 2 }
for await (const page of client.searchResourcePages("Observation", asked)) pages.push(values(page))
const whole = []
for await (const page of client.searchResourcePages("Observation", { patient: patient.id })) whole.push(page.length)
const latest = await client.searchOne("Observation", { patient: patient.id, _sort: "-date" })
const counted = await client.search("Observation", { patient: patient.id, _summary: "count" })
const part = await client.searchOne("Observation", { patient: patient.id, _elements: "valueQuantity" })
const history = await client.readHistory("Observation", first.id, { count: 2 })
const version = await client.readVersion("Observation", first.id, first.meta.versionId)

const batch = await client.executeBatch({
  resourceType: "Bundle",
  type: "batch",
  entry: [
    { request: { method: "GET", url: `Observation/${first.id}` } },
    { request: { method: "GET", url: `Observation?patient=${patient.id}&_count=1` } },
    { request: { method: "PUT", url: `Observation?identifier=${lab}|med-20` }, resource: result(2000, "med-20", 20) },
    { request: { method: "GET", url: "Observation/nothing" } },
  ],
})
const together = new MedplumClient({ baseUrl: new URL("/", BASE).href, fhirUrlPath: new URL(BASE).pathname.slice(1), autoBatchTime: 10 })
together.setAccessToken(KEY)
const read = await Promise.all([together.readResource("Patient", patient.id), together.readResource("Observation", first.id)])
const valid = await client.validateResource(result(1, "med-30", 21))
const invalid = await client.validateResource(result(-1, "med-30", 21))
await client.deleteResource("Observation", upserted.id)
await client.invalidateAll()
const left = await client.search("Observation", { patient: patient.id, _summary: "count" })

console.log(JSON.stringify({
  same: same.id === patient.id && same.meta.versionId === patient.meta.versionId,
  found: found.id === first.id ? values([found])[0] : found,
  changed: values([changed])[0],
  upserted: upserted.id === first.id ? values([upserted])[0] : upserted,
  pages,
  whole,
  latest: values([latest])[0],
  counted: counted.total,
  part: Object.keys(part).includes("effectiveDateTime") ? part : part.meta.tag[0].code,
  history: history.entry.map((each) => each.request.method),
  version: values([version])[0],
  batch: batch.entry.map((each) => each.response.status),
  read: read.map((each) => each.id === patient.id || each.id === first.id),
  valid: valid.issue[0].details.text,
  invalid: invalid.issue[0].expression[0],
  left: left.total,
  refused: (await failure(() => client.createResource(result(-1, "med-40", 22)))).expression,
  gone: (await failure(() => client.readResource("Observation", "nothing"))).code,
  patched: (await failure(() => client.patchResource("Observation", first.id, [{ op: "remove", path: "/issued" }]))).details.text,
  unsupported: (await failure(() => client.search("Observation", { _include: "Observation:subject" }))).details.text,
}))
