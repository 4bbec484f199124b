// The API's description, from its own openapi.json: FastAPI's pages would load their code from other hosts.

document.documentElement.dataset.theme = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

// A schema as a line or a block of pseudo-JSON.
function spell(schema, schemas, indent = "") {
  if (!schema) return "";
  if (schema.$ref) return spell(schemas[schema.$ref.split("/").at(-1)], schemas, indent);
  if (schema.anyOf) return schema.anyOf.map((one) => spell(one, schemas, indent)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.type === "array") return `[${spell(schema.items, schemas, indent) || (schema.prefixItems ?? []).map((one) => one.type).join(", ")}, …]`;
  if (!schema.properties) return schema.format ?? schema.type ?? "anything";
  const lines = Object.entries(schema.properties).map(([name, field]) => {
    const standard = field.default === undefined ? "" : ` = ${JSON.stringify(field.default)}`;
    const note = field.description ? `  // ${field.description}` : "";
    return `${indent}  ${name}: ${spell(field, schemas, `${indent}  `)}${standard}${note}`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

function operation(method, path, about, schemas) {
  const box = make("details");
  const line = make("summary");
  line.append(make("span", method.toUpperCase(), "method"), make("code", path), ` ${about.summary}`);
  box.append(line, make("p", about.description));
  const given = (about.parameters ?? []).map((one) => `${one.name} (${one.in}): ${spell(one.schema, schemas)}${one.required ? "" : ` = ${JSON.stringify(one.schema.default)}`}`);
  for (const [type, { schema }] of Object.entries(about.requestBody?.content ?? {})) given.push(`${type}: ${spell(schema, schemas)}`);
  if (given.length) box.append(make("b", "Takes"), make("pre", given.join("\n")));
  for (const [status, answer] of Object.entries(about.responses).filter(([code]) => code < 300)) {
    const kinds = Object.entries(answer.content ?? {}).map(([type, { schema, itemSchema }]) => `${type}: ${spell(schema ?? itemSchema, schemas)}`);
    box.append(make("b", `Gives ${status}`), make("pre", kinds.join("\n") || "nothing"));
  }
  return box;
}

const described = await (await fetch("api/openapi.json")).json();
const schemas = described.components.schemas;
const list = Object.entries(described.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, about]) => operation(method, path, about, schemas)),
);
const failures = make("pre", `${spell(schemas.Problem, schemas)}\n\n${Object.entries(Object.values(described.paths)[0].get.responses).filter(([code]) => code >= 400).map(([code, { description }]) => `${code}  ${description}`).join("\n")}`);
document.getElementById("api").replaceChildren(make("p", described.info.summary), make("h2", "Requests"), ...list, make("h2", "Whatever fails gives a Problem"), failures);
