// An integration with fhir-kit-client, unmodified: what it was answered, as JSON.
import { Client } from "fhir-kit-client"

const { BASE, KEY } = process.env
const client = new Client({ baseUrl: BASE, bearerToken: KEY })
const [hospital, lab, loinc, ucum] = ["urn:oid:1.2.3.9", "urn:oid:1.2.3.4", "http://loinc.org", "http://unitsofmeasure.org"]

const person = { resourceType: "Patient", identifier: [{ system: hospital, value: "KIT-1" }], gender: "female" }
const result = (value, number, day) => ({
  resourceType: "Observation",
  status: "final",
  identifier: [{ system: lab, value: number }],
  code: { coding: [{ system: loinc, code: "2157-6" }] },
  subject: { identifier: { system: hospital, value: "KIT-1" } },
  effectiveDateTime: `2005-03-${day}T09:48:00+09:00`,
  valueQuantity: { value, unit: "U/L", system: ucum, code: "U/L" },
})
const failure = async (call) => {
  try {
    return await call()
  } catch ({ response }) {
    return [response.status, ...response.data.issue.map((each) => each.expression?.[0] ?? each.code)]
  }
}

const [resourceType, searchParams] = ["Observation", { identifier: `${lab}|kit-1` }]
const statement = await client.capabilityStatement()
const patient = await client.update({ resourceType: "Patient", searchParams: { identifier: `${hospital}|KIT-1` }, body: person })
const created = await client.create({ resourceType, body: result(1101, "kit-1", 16) })
const again = await client.create({ resourceType, body: result(5, "kit-1", 16), options: { headers: { "If-None-Exist": `identifier=${lab}|kit-1` } } })
const upserted = await client.update({ resourceType, searchParams, body: result(1200, "kit-1", 16) })
const read = await client.read({ resourceType, id: created.id })
const tag = Client.httpFor(read).response.headers.get("etag")
const updated = await client.update({ resourceType, id: created.id, body: { ...read, status: "corrected" }, options: { headers: { "If-Match": tag } } })
const outdated = await failure(() => client.update({ resourceType, id: created.id, body: read, options: { headers: { "If-Match": tag } } }))
const transaction = await client.transaction({
  body: {
    resourceType: "Bundle",
    type: "transaction",
    entry: [17, 18, 19].map((day) => ({
      request: { method: "PUT", url: `/Observation?identifier=${lab}|kit-${day}` },
      resource: { ...result(100 * day, `kit-${day}`, day), subject: { reference: `${BASE}/Patient/${patient.id}` } },
    })),
  },
})
const seen = []
let bundle = await client.search({ resourceType, searchParams: { patient: patient.id, _sort: "-date", _count: 3 } })
while (bundle) {
  seen.push(bundle.entry.map((each) => each.resource.valueQuantity.value))
  bundle = await client.nextPage({ bundle })
}
const form = await client.search({ resourceType, searchParams: { patient: patient.id, category: "laboratory" }, options: { postSearch: true } })
const count = await client.search({ resourceType, searchParams: { patient: patient.id, _summary: "count" } })
const history = await client.history({ resourceType, id: created.id })
const version = await client.vread({ resourceType, id: created.id, version: created.meta.versionId })
const batch = await client.batch({
  body: {
    resourceType: "Bundle",
    type: "batch",
    entry: [
      { request: { method: "GET", url: `/Observation/${created.id}/_history?_count=1` } },
      { request: { method: "GET", url: `Patient/${patient.id}` } },
      { request: { method: "DELETE", url: `Observation/${created.id}` } },
    ],
  },
})
const valid = await client.operation({ name: "validate", resourceType, input: result(7, "kit-9", 20) })
const invalid = await client.operation({ name: "$validate", resourceType, input: { resourceType: "Parameters", parameter: [{ name: "resource", resource: result(-7, "kit-9", 20) }] } })
const resolved = await client.resolve({ reference: `${BASE}/Patient/${patient.id}` })

console.log(JSON.stringify({
  updates: statement.rest[0].resource.map((each) => each.conditionalUpdate ?? null),
  again: again.valueQuantity.value,
  upserted: [upserted.id === created.id, upserted.valueQuantity.value],
  updated: updated.status,
  outdated,
  transaction: transaction.entry.map((each) => each.response.status),
  seen,
  form: form.total,
  count: [count.total, count.entry ?? null],
  history: history.entry.map((each) => each.request.method),
  version: version.valueQuantity.value,
  batch: batch.entry.map((each) => each.response.status),
  valid: valid.issue[0].severity,
  invalid: invalid.issue[0].severity,
  resolved: resolved.id === patient.id,
  refused: await failure(() => client.create({ resourceType, body: result(-1, "kit-5", 21) })),
  missing: await failure(() => client.read({ resourceType, id: "nothing" })),
  patched: await failure(() => client.patch({ resourceType, id: created.id, jsonPatch: [{ op: "remove", path: "/issued" }] })),
  everywhere: await failure(() => client.systemHistory()),
  compartment: await failure(() => client.search({ resourceType, compartment: { resourceType: "Patient", id: patient.id } })),
  included: await failure(() => client.search({ resourceType, searchParams: { _include: "Observation:subject" } })),
}))
