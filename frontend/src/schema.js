/**
 * From the JSON Schema of a task's params to the fields of a form, and from what was typed to params. Pure.
 *
 * Only what a form needs is understood: the schema is the server's to enforce. What is nested is typed as JSON.
 * @module
 */

/** @typedef {Record<string, any>} Schema */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {"text" | "integer" | "number" | "boolean" | "choice" | "json"} kind
 * @property {boolean} secret  not to be shown while it is typed
 * @property {boolean} required
 * @property {boolean} nullable
 * @property {unknown} fallback  what the task takes when the field is left out; undefined when it says nothing
 * @property {string} description
 * @property {unknown[]} choices  the values of a `choice`
 * @property {number | null} min
 * @property {number | null} max
 */

/** What was typed: a value, nothing (leave the param out), or a sentence on why it cannot be read. */
/** @typedef {{value: unknown} | {omit: true} | {problem: string}} Reading */

/**
 * @param {Schema} schema  of the params, an object
 * @returns {Field[]}
 */
export function fieldsOf(schema) {
  const required = new Set(schema.required ?? [])
  return Object.entries(schema.properties ?? {}).map(([name, raw]) => {
    const { schema: plain, nullable } = plainSchema(raw, schema)
    return {
      name,
      kind: kindOf(plain, nullable),
      secret: plain.writeOnly === true,
      required: required.has(name),
      nullable,
      fallback: plain.writeOnly ? undefined : "default" in raw ? raw.default : plain.default,
      description: raw.description ?? plain.description ?? "",
      choices: choicesOf(plain, nullable),
      min: plain.minimum ?? plain.exclusiveMinimum ?? null,
      max: plain.maximum ?? plain.exclusiveMaximum ?? null,
    }
  })
}

/**
 * Whether a task takes params that its schema does not name (`**params`).
 * @param {Schema} schema
 */
export function isOpen(schema) {
  return schema.additionalProperties !== false && Object.keys(schema.properties ?? {}).length === 0
}

/**
 * What a field shows at first.
 * @param {Field} field
 * @returns {string}
 */
export function initialText(field) {
  if (field.fallback === undefined || field.fallback === null) return ""
  if (field.kind === "json") return JSON.stringify(field.fallback, null, 2)
  if (field.kind === "choice") return choiceText(field.fallback)
  return String(field.fallback)
}

/**
 * @param {unknown} value
 * @returns {string} what stands for a value among the choices: unlike `String`, it tells 1 from "1"
 */
export function choiceText(value) {
  return JSON.stringify(value)
}

/**
 * Read what was typed into a field.
 * @param {Field} field
 * @param {string} text  of a checkbox: "true" or "false"
 * @returns {Reading}
 */
export function readField(field, text) {
  if (text.trim() === "" && !(field.kind === "text" && clearsDefault(field))) return { omit: true }
  if (field.kind === "integer" || field.kind === "number") return readNumber(field.kind, text.trim())
  if (field.kind === "boolean") return { value: text === "true" }
  if (field.kind === "choice" || field.kind === "json") return readJson(text)
  return { value: text }
}

/**
 * An emptied text field means the empty text where leaving it out would bring a default back.
 * @param {Field} field
 */
function clearsDefault(field) {
  return !field.required && !field.nullable && typeof field.fallback === "string" && field.fallback !== ""
}

/**
 * @param {"integer" | "number"} kind
 * @param {string} text
 * @returns {Reading}
 */
function readNumber(kind, text) {
  const value = Number(text)
  if (!Number.isFinite(value)) return { problem: "This should be a number." }
  if (kind === "integer" && !Number.isInteger(value)) return { problem: "This should be a whole number." }
  if (kind === "integer" && !Number.isSafeInteger(value)) {
    return { problem: `A browser cannot send this number exactly; ${Number.MAX_SAFE_INTEGER} is the most.` }
  }
  return { value }
}

/**
 * @param {string} text
 * @returns {Reading}
 */
function readJson(text) {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    return { problem: `This should be JSON: ${error instanceof Error ? error.message : error}.` }
  }
}

/**
 * Follow references and look through `anyOf: [X, null]`, which is how Python says `X | None`.
 * @param {Schema} raw
 * @param {Schema} root
 * @returns {{schema: Schema, nullable: boolean}}
 */
function plainSchema(raw, root) {
  const schema = resolve(raw, root)
  const ways = schema.anyOf ?? schema.oneOf
  if (Array.isArray(ways)) {
    const others = ways.filter((way) => way.type !== "null")
    const nullable = others.length < ways.length
    return others.length === 1 ? { schema: resolve(others[0], root), nullable } : { schema: {}, nullable }
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null")
    return { schema: { ...schema, type: types.length === 1 ? types[0] : undefined }, nullable: schema.type.includes("null") }
  }
  return { schema, nullable: false }
}

/**
 * @param {Schema} schema
 * @param {Schema} root
 * @param {number} [depth]  a schema may refer to itself
 * @returns {Schema}
 */
function resolve(schema, root, depth = 8) {
  const inner = schema.$ref ?? (schema.allOf?.length === 1 ? schema.allOf[0] : undefined)
  if (inner === undefined || depth === 0) return schema
  const found = typeof inner === "string" ? at(root, inner) : inner
  return found ? { ...resolve(found, root, depth - 1), ...without(schema, "$ref", "allOf") } : schema
}

/**
 * @param {Schema} root
 * @param {string} reference  such as `#/$defs/Color`; others lead out of the schema and are not followed
 * @returns {Schema | undefined}
 */
function at(root, reference) {
  if (!reference.startsWith("#/")) return undefined
  const steps = reference.slice(2).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
  return steps.reduce((/** @type {any} */ place, step) => place?.[step], root)
}

/**
 * @param {Schema} schema
 * @param {string[]} names
 */
function without(schema, ...names) {
  return Object.fromEntries(Object.entries(schema).filter(([name]) => !names.includes(name)))
}

/**
 * @param {Schema} schema
 * @param {boolean} nullable
 * @returns {Field["kind"]}
 */
function kindOf(schema, nullable) {
  if (choicesOf(schema, nullable).length) return "choice"
  if (schema.type === "integer" || schema.type === "number" || schema.type === "boolean") return schema.type
  return schema.type === "string" ? "text" : "json"
}

/**
 * @param {Schema} schema
 * @param {boolean} nullable
 * @returns {unknown[]}
 */
function choicesOf(schema, nullable) {
  // A check box has two states, a boolean that may be null three.
  const listed = schema.enum ?? (schema.type === "boolean" && nullable ? [true, false] : [])
  const choices = "const" in schema ? [schema.const] : listed
  return choices.length && nullable && !choices.includes(null) ? [...choices, null] : choices
}

export const HIDDEN = "***"
const BRANCHES = ["allOf", "anyOf", "oneOf"]

/**
 * Params as they may be shown: `***` in place of what their schema marks as `writeOnly`.
 * @param {any} value
 * @param {Schema} root
 * @param {Schema[]} [schemas]  those which speak of `value`
 * @returns {any}
 */
export function redacted(value, root, schemas = [root]) {
  const said = flat(schemas, root)
  if (value === null || value === undefined) return value
  if (said.some((schema) => schema.writeOnly === true)) return HIDDEN
  if (Array.isArray(value)) return value.map((one, place) => redacted(one, root, ofItem(said, place)))
  if (typeof value !== "object") return value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, redacted(inner, root, ofProperty(said, name))]),
  )
}

/**
 * Whether something in there was taken out by `redacted`.
 * @param {unknown} value
 * @returns {boolean}
 */
export function holdsHidden(value) {
  if (value === null || typeof value !== "object") return value === HIDDEN
  return Object.values(value).some(holdsHidden)
}

/**
 * These schemas and all that they refer to or are made of: which of them holds, is not asked.
 * @param {(Schema | boolean | undefined)[]} schemas
 * @param {Schema} root
 * @returns {Schema[]}
 */
function flat(schemas, root) {
  /** @type {Set<Schema>} */
  const found = new Set()
  const left = [...schemas]
  while (left.length) {
    const schema = left.pop()
    if (typeof schema !== "object" || found.has(schema)) continue
    found.add(schema)
    left.push(...BRANCHES.flatMap((name) => schema[name] ?? []), schema.then, schema.else)
    if (typeof schema.$ref === "string") left.push(at(root, schema.$ref))
  }
  return [...found]
}

/**
 * @param {Schema[]} said
 * @param {string} name
 */
function ofProperty(said, name) {
  return said.map(({ properties, additionalProperties }) =>
    properties && Object.hasOwn(properties, name) ? properties[name] : additionalProperties,
  )
}

/**
 * @param {Schema[]} said
 * @param {number} place
 */
function ofItem(said, place) {
  return said.map(({ prefixItems, items }) => prefixItems?.[place] ?? items)
}
