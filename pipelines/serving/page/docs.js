"use strict";
// The OpenAPI document as a page to read.
const made = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
let schemas = {};

const named = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : null);
const resolved = (schema) => (named(schema) ? schemas[named(schema)] : schema);

function kind(schema) {
  if (named(schema)) return named(schema);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  if (schema.items) return `array of ${kind(schema.items)}`;
  const bounds = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["exclusiveMaximum", "<"], ["maxLength", "up to"], ["maxItems", "up to"]];
  const told = bounds.filter(([name]) => schema[name] !== undefined).map(([name, sign]) => `${sign} ${schema[name]}`).join(", ");
  return [schema.type].flat().join(" | ") + (told ? ` (${told})` : "");
}

function table(schema) {
  const whole = resolved(schema);
  if (whole.anyOf) return made("div", {}, ...whole.anyOf.flatMap((s, i) => [made("p", {}, i ? "or" : "either"), table(s)]));
  const rows = Object.entries(whole.properties || {}).map(([name, field]) =>
    made("tr", {}, made("td", {}, made("code", {}, name), (whole.required || []).includes(name) ? " *" : ""), made("td", {}, kind(field)), made("td", {}, field.description || "")));
  return made("div", { className: "scroll" }, made("table", {}, made("tbody", {}, ...rows)));
}

function route(path, verb, told) {
  const parts = [made("p", {}, made("span", { className: "verb" }, verb.toUpperCase()), made("code", {}, path), " ", told.summary)];
  for (const p of told.parameters || []) parts.push(made("p", {}, "header ", made("code", {}, p.name), ": ", p.description));
  const detail = (title, schema) => made("details", {}, made("summary", {}, title), table(schema));
  if (told.description) parts.push(made("p", {}, told.description));
  const messages = told["x-messages"] || {}; // of a WebSocket
  const takes = told.requestBody ? told.requestBody.content["application/json"].schema : messages.takes;
  const gives = told.responses["200"] ? (told.responses["200"].content["application/json"] || {}).schema : messages.gives;
  if (takes) parts.push(detail(`takes ${named(takes)}`, takes));
  if (gives && named(gives)) parts.push(detail(`gives ${named(gives)}`, gives));
  parts.push(made("p", { className: "note" }, "refuses with " + Object.keys(told.responses).filter((s) => s >= "400").join(", ")));
  return made("div", { className: "route" }, ...parts);
}

fetch("/openapi.json").then((answer) => answer.json()).then((told) => {
  schemas = told.components.schemas;
  document.getElementById("about").textContent = told.info.description;
  const routes = document.getElementById("routes");
  for (const [path, verbs] of Object.entries(told.paths)) for (const [verb, one] of Object.entries(verbs)) routes.append(route(path, verb, one));
  routes.append(made("h2", {}, "A context"), table({ $ref: "#/components/schemas/Context" }));
  document.body.dataset.answered = 1;
});
