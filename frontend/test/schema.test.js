import assert from "node:assert/strict"
import test from "node:test"
import { fieldsOf, holdsHidden, initialText, isOpen, readField, redacted } from "../src/schema.js"

/** @param {Record<string, any>} property @param {Record<string, any>} [rest] */
function field(property, rest = {}) {
  return fieldsOf({ type: "object", properties: { it: property }, ...rest })[0]
}

test("a field is what its schema says", () => {
  const { kind, min, max, fallback, required, description } = field(
    { type: "integer", minimum: 1, maximum: 9, default: 3, description: "How many." },
    { required: ["it"] },
  )
  assert.deepEqual(
    { kind, min, max, fallback, required, description },
    { kind: "integer", min: 1, max: 9, fallback: 3, required: true, description: "How many." },
  )
})

for (const [kind, schema] of /** @type {[string, Record<string, any>][]} */ ([
  ["text", { type: "string" }],
  ["text", { type: ["string", "null"] }],
  ["text", { anyOf: [{ type: "string", format: "uri" }, { type: "null" }] }],
  ["number", { type: "number" }],
  ["boolean", { type: "boolean", default: false }],
  ["choice", { anyOf: [{ type: "boolean" }, { type: "null" }] }],
  ["choice", { enum: ["a", "b"] }],
  ["choice", { const: 1 }],
  ["choice", { $ref: "#/$defs/Color" }],
  ["choice", { allOf: [{ $ref: "#/$defs/Color" }], default: "red" }],
  ["json", { type: "array", items: { type: "string" } }],
  ["json", { type: "object" }],
  ["json", { anyOf: [{ type: "string" }, { type: "integer" }] }],
  ["json", { $ref: "https://example.com/elsewhere" }],
  ["json", { $ref: "#/$defs/Loop" }],
  ["json", {}],
])) {
  test(`${JSON.stringify(schema)} is a ${kind} field`, () => {
    const $defs = { Color: { enum: ["red", "green"] }, Loop: { $ref: "#/$defs/Loop" } }
    assert.equal(field(schema, { $defs }).kind, kind)
  })
}

test("a null may be chosen where it is allowed", () => {
  assert.deepEqual(field({ anyOf: [{ enum: ["a"] }, { type: "null" }] }).choices, ["a", null])
})

test("a secret is typed unseen and has no default to show", () => {
  const secret = { type: "string", format: "password", writeOnly: true, default: "**********" }
  for (const schema of [secret, { anyOf: [secret, { type: "null" }] }]) {
    const it = field(schema)
    assert.deepEqual([it.kind, it.secret, it.fallback, initialText(it)], ["text", true, undefined, ""])
    assert.deepEqual(readField(it, "s3cret"), { value: "s3cret" })
  }
  const pin = field({ type: "integer", writeOnly: true })
  assert.deepEqual([pin.secret, readField(pin, "1234")], [true, { value: 1234 }])
})

test("what is shown of params has no secrets, however deep they are", () => {
  const secret = { type: "string", writeOnly: true }
  const schema = {
    properties: {
      token: { anyOf: [secret, { type: "null" }] },
      db: { $ref: "#/$defs/Db" },
      all: { items: { $ref: "#/$defs/Db" } },
      pair: { prefixItems: [{ type: "string" }, secret] },
      loop: { $ref: "#/$defs/Loop" },
      name: { type: "string" },
    },
    additionalProperties: false,
    $defs: {
      Db: { allOf: [{ properties: { user: {}, password: secret } }], additionalProperties: secret },
      Loop: { properties: { next: { $ref: "#/$defs/Loop" }, key: secret } },
    },
  }
  const shown = redacted(
    {
      token: "x",
      db: { user: "u", password: "x" },
      all: [{ password: "x" }],
      pair: ["a", "x"],
      loop: { next: { next: { key: "x" } } },
      name: "n",
      constructor: "c",
    },
    schema,
  )
  assert.deepEqual(shown, {
    token: "***",
    db: { user: "***", password: "***" },
    all: [{ password: "***" }],
    pair: ["a", "***"],
    loop: { next: { next: { key: "***" } } },
    name: "n",
    constructor: "c",
  })
  assert.deepEqual(redacted({ token: null }, schema), { token: null })
})

test("the schema itself is left as it was", () => {
  const schema = { type: "object", properties: { on: { anyOf: [{ type: "boolean" }, { type: "null" }] } } }
  const before = structuredClone(schema)
  fieldsOf(schema)
  assert.deepEqual(schema, before)
})

test("a task with **params is open, one without params is not", () => {
  assert.equal(isOpen({ type: "object", additionalProperties: true }), true)
  assert.equal(isOpen({ type: "object", properties: {}, additionalProperties: false }), false)
})

test("a field shows its default, and reads it back as it was", () => {
  for (const [schema, value] of /** @type {[any, unknown][]} */ ([
    [{ type: "integer", default: 20 }, 20],
    [{ type: "number", default: 0.25 }, 0.25],
    [{ type: "string", default: "a b" }, "a b"],
    [{ enum: [1, "1"], default: "1" }, "1"],
    [{ type: "array", default: [1, { a: null }] }, [1, { a: null }]],
  ])) {
    const it = field(schema)
    assert.deepEqual(readField(it, initialText(it)), { value })
  }
})

test("what is left empty is left out", () => {
  for (const schema of [{ type: "integer" }, { type: "string" }, { type: "array" }, { enum: ["a"] }]) {
    assert.deepEqual(readField(field(schema), " "), { omit: true })
  }
})

test("an emptied text is empty where leaving it out would bring the default back", () => {
  assert.deepEqual(readField(field({ type: "string", default: "x" }), ""), { value: "" })
  assert.deepEqual(readField(field({ anyOf: [{ type: "string" }, { type: "null" }], default: "x" }), ""), { omit: true })
})

test("spaces in a text are the typist's own", () => {
  assert.deepEqual(readField(field({ type: "string" }), "  a "), { value: "  a " })
})

for (const [kind, text, words] of [
  ["integer", "1.5", "whole number"],
  ["integer", "9007199254740993", "exactly"],
  ["number", "1e999", "number"],
  ["number", "ten", "number"],
  ["array", "[1,", "JSON"],
]) {
  test(`${JSON.stringify(text)} is refused as ${kind} with a sentence`, () => {
    const reading = readField(field({ type: kind }), text)
    assert.ok("problem" in reading && reading.problem.includes(words) && reading.problem.endsWith("."))
  })
}

test("what was taken out is found again, however deep", () => {
  const root = { properties: { login: { properties: { password: { type: "string", writeOnly: true } } }, names: {} } }
  const shown = redacted({ login: { password: "x" }, names: ["***bold***", null] }, root)
  assert.deepEqual([holdsHidden(shown), holdsHidden(shown.login), holdsHidden(shown.names), holdsHidden(null)], [true, true, false, false])
})
