// @ts-check
// The API's description, from its own openapi.json: FastAPI's pages would load their code from other hosts.

/**
 * The parts of a JSON schema and of OpenAPI that are shown.
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {Schema[]} [anyOf]
 * @property {unknown[]} [enum]
 * @property {string} [type]
 * @property {string} [format]
 * @property {string} [description]
 * @property {unknown} [default]
 * @property {Schema} [items]
 * @property {Schema[]} [prefixItems]
 * @property {Record<string, Schema>} [properties]
 *
 * @typedef {Record<string, { schema?: Schema, itemSchema?: Schema }>} Content by media type
 * @typedef {{ description: string, content?: Content }} Answer
 * @typedef {{ name: string, in: string, required?: boolean, schema: Schema }} Parameter
 *
 * @typedef {object} Operation
 * @property {string} summary
 * @property {string} description
 * @property {Parameter[]} [parameters]
 * @property {{ content: Content }} [requestBody]
 * @property {Record<string, Answer>} responses by status
 *
 * @typedef {object} Description
 * @property {{ summary: string }} info
 * @property {Record<string, Record<string, Operation>>} paths
 * @property {{ schemas: Record<string, Schema> }} components
 */

const dark = matchMedia("(prefers-color-scheme: dark)").matches;
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (dark ? "dark" : "light");

/** @type {Description} */
const described = await (await fetch("api/openapi.json")).json();
const { schemas } = described.components;

/** @param {string} tag @param {string} [text] @param {string} [className] */
const make = (tag, text = "", className = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className });

/**
 * A schema as a line or a block of pseudo-JSON.
 * @param {Schema | undefined} schema
 * @param {string} [indent]
 * @returns {string}
 */
function spell(schema, indent = "") {
  if (!schema) return "";
  if (schema.$ref) return spell(schemas[schema.$ref.split("/").at(-1) ?? ""], indent);
  if (schema.anyOf) return schema.anyOf.map((one) => spell(one, indent)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") {
    const items = spell(schema.items, indent) || (schema.prefixItems ?? []).map((one) => one.type).join(", ");
    return `[${items}, …]`;
  }
  if (!schema.properties) return schema.format ?? schema.type ?? "anything";
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const standard = field.default === undefined ? "" : ` = ${JSON.stringify(field.default)}`;
    const note = field.description ? `  // ${field.description}` : "";
    return `${indent}  ${name}: ${spell(field, `${indent}  `)}${standard}${note}`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

/** @param {Content} [content] */
const spellContent = (content = {}) =>
  Object.entries(content).map(([type, { schema, itemSchema }]) => `${type}: ${spell(schema ?? itemSchema)}`);

/** @param {Parameter} parameter */
function spellParameter({ name, in: where, required, schema }) {
  const standard = required ? "" : ` = ${JSON.stringify(schema.default)}`;
  return `${name} (${where}): ${spell(schema)}${standard}`;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Operation} about
 */
function operation(method, path, about) {
  const box = make("details");
  const line = make("summary");
  line.append(make("span", method.toUpperCase(), "method"), make("code", path), ` ${about.summary}`);
  box.append(line, make("p", about.description));
  const given = [...(about.parameters ?? []).map(spellParameter), ...spellContent(about.requestBody?.content)];
  if (given.length) box.append(make("b", "Takes"), make("pre", given.join("\n")));
  for (const [status, { content }] of Object.entries(about.responses).filter(([code]) => Number(code) < 300))
    box.append(make("b", `Gives ${status}`), make("pre", spellContent(content).join("\n") || "nothing"));
  return box;
}

function failures() {
  const { responses } = Object.values(described.paths)[0].get;
  const statuses = Object.entries(responses).filter(([code]) => Number(code) >= 400);
  const lines = statuses.map(([code, { description }]) => `${code}  ${description}`);
  return make("pre", `${spell(schemas.Problem)}\n\n${lines.join("\n")}`);
}

const operations = Object.entries(described.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, about]) => operation(method, path, about)),
);
document
  .getElementById("api")
  ?.replaceChildren(
    make("p", described.info.summary),
    make("h2", "Requests"),
    ...operations,
    make("h2", "Whatever fails gives a Problem"),
    failures(),
  );
