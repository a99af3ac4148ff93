// Lays the OpenAPI documents of the three services out as one page. No library, and nothing from outside.
"use strict";

const SERVICES = ["order", "stock", "payment"];
const METHODS = ["get", "put", "post", "delete", "patch"];
const DEEPEST = 8; // Schemas are finite; this only guards against one that one day is not.

/** An element with attributes and children; text stays text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.flat().filter((child) => child !== undefined && child !== ""));
  return element;
}

/** Paragraphs and `code`, which is all the Markdown that the documents have. */
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => make("p", {}, inline(part)));
}

function inline(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function resolve(document, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((place, name) => place[name], document);
}

// ---------------------------------------------------------------- schemas

function typeOf(document, schema) {
  const known = resolve(document, schema);
  const name = schema.$ref ? schema.$ref.split("/").pop() : "";
  if (known.oneOf) {
    const words = known.oneOf.map((one) => typeOf(document, one));
    return [...new Set(words)].join(" or ");
  }
  if (known.type === "array") return `array of ${typeOf(document, known.items)}`;
  return name || known.type || "any value";
}

function limits(schema) {
  const said = [];
  if (schema.enum) said.push(schema.enum.length > 12 ? `one of ${schema.enum.length} codes` : schema.enum.join(", "));
  // A limit of 64 bits has more digits than a number has here, and would be shown wrong.
  const hasMaximum = schema.maximum !== undefined && schema.maximum <= Number.MAX_SAFE_INTEGER;
  if (schema.minimum !== undefined && hasMaximum) said.push(`${schema.minimum} to ${schema.maximum}`);
  else if (schema.minimum !== undefined) said.push(`at least ${schema.minimum}`);
  if (schema.multipleOf !== undefined) said.push(`in steps of ${schema.multipleOf}`);
  if (schema.maxLength !== undefined) said.push(`${schema.minLength} to ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) said.push(`${schema.minItems} to ${schema.maxItems} of them`);
  if (schema.format) said.push(schema.format);
  return said.join("; ");
}

/** The members of a schema, as nested lists. */
function members(document, schema, depth = 0) {
  const known = resolve(document, schema);
  if (depth > DEEPEST) return [];
  if (known.oneOf) {
    return known.oneOf.flatMap((one, index) => {
      const inner = members(document, one, depth + 1);
      return inner.length ? [make("p", { class: "type" }, index ? "or" : "either"), ...inner] : [];
    });
  }
  if (known.allOf) return known.allOf.flatMap((part) => members(document, part, depth + 1));
  if (known.type === "array") return members(document, known.items, depth + 1);
  if (!known.properties) return [];
  const required = new Set(known.required || []);
  const list = Object.entries(known.properties).map(([name, property]) => {
    const resolved = resolve(document, property);
    return make("li", {},
      make("code", {}, name), " ",
      make("span", { class: "type" }, [typeOf(document, property), limits(resolved)].filter(Boolean).join(", ")), " ",
      required.has(name) ? make("span", { class: "required" }, "required") : "",
      resolved.description ? make("div", {}, inline(resolved.description)) : "",
      ...members(document, property, depth + 1));
  });
  return [make("ul", { class: "schema" }, list)];
}

// ---------------------------------------------------------------- operations

function curl(service, path, method, operation, document) {
  const words = ["curl -i"];
  if (method !== "get") words.push(`-X ${method.toUpperCase()}`);
  const shown = path.replace(/\{(\w+)\}/g, (_, name) => {
    const parameter = operation.parameters.map((one) => resolve(document, one)).find((one) => one.name === name);
    return (parameter && parameter.schema.examples && parameter.schema.examples[0]) || name.toUpperCase();
  });
  words.push(`${location.origin}/${service}${shown}`);
  const parameters = operation.parameters.map((one) => resolve(document, one));
  if (parameters.some((one) => one.name === "Idempotency-Key")) words.push("\\\n  -H 'Idempotency-Key: a-key-of-your-own'");
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  if (body) {
    words.push("\\\n  -H 'Content-Type: application/json'");
    if (body.examples) words.push(`\\\n  -d '${JSON.stringify(body.examples.usual.value)}'`);
  }
  return words.join(" ");
}

function example(text) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it by hand";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return make("div", { class: "example" }, make("pre", { tabindex: "0" }, make("code", {}, text)), button);
}

function parameterTable(document, operation) {
  const parameters = operation.parameters.map((one) => resolve(document, one));
  const rows = parameters.map((one) => make("tr", {},
    make("td", {}, make("code", {}, one.name), " ", one.required ? make("span", { class: "required" }, "required") : ""),
    make("td", { class: "type" }, [one.in, limits(resolve(document, one.schema))].filter(Boolean).join(", ")),
    make("td", {}, inline(one.description || ""))));
  const head = make("tr", {}, ["Name", "Where", "What"].map((text) => make("th", { scope: "col" }, text)));
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
}

function answers(document, operation) {
  return Object.entries(operation.responses).map(([status, answer]) => {
    const isGood = Number(status) < 400;
    const problem = answer.content["application/problem+json"];
    const codes = problem ? problem.schema.allOf[1].properties.code.enum : [];
    const good = Object.entries(answer.content).find(([type]) => type !== "application/problem+json");
    return make("details", isGood ? { open: "" } : {},
      make("summary", {},
        make("span", { class: `status ${isGood ? "ok" : "not"}` }, status), " ",
        isGood ? answer.description : codes.map((code) => `${code}`).join(", ")),
      good ? members(document, good[1].schema) : "",
      codes.length ? make("ul", { class: "schema" }, codes.map((code) => make("li", {},
        make("a", { href: `#problem-${code}` }, make("code", {}, code))))) : "",
      make("p", { class: "type" }, `Headers: ${Object.keys(answer.headers).join(", ")}`));
  });
}

function operationSection(service, document, path, method, operation) {
  const id = `${service}-${operation.operationId}`;
  const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
  return make("section", { class: "operation", id, "aria-labelledby": `${id}-title` },
    make("h3", { id: `${id}-title` },
      make("span", { class: `method ${method}` }, method.toUpperCase()), make("code", {}, `/${service}${path}`),
      make("span", { class: "summary" }, operation.summary)),
    prose(operation.description),
    make("h4", {}, "Parameters and headers"), parameterTable(document, operation),
    body ? make("h4", {}, "Body") : "", body ? members(document, body) : "",
    make("h4", {}, "Try it"), example(curl(service, path, method, operation, document)),
    make("h4", {}, "Answers"), answers(document, operation));
}

// ---------------------------------------------------------------- the page

function problemSection(kinds) {
  const rows = kinds.map((kind) => make("tr", { id: `problem-${kind.code}` },
    make("td", {}, make("a", { href: kind.type }, make("code", {}, kind.code))), make("td", {}, String(kind.status)),
    make("td", {}, kind.retryable ? "yes" : "no"),
    make("td", {}, make("strong", {}, kind.title), ". ", inline(kind.meaning))));
  const head = make("tr", {}, ["Type", "Status", "Retry", "Meaning"].map((text) => make("th", { scope: "col" }, text)));
  return make("section", { id: "problems", "aria-labelledby": "problems-title" },
    make("h2", { id: "problems-title" }, "Problem types"),
    make("p", {}, "The same for all three services, and for nginx."),
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, rows))));
}

function show(documents) {
  const [main, contents] = [document.getElementById("main"), document.getElementById("contents")];
  for (const { service, api } of documents) {
    const section = make("section", { id: service, "aria-labelledby": `${service}-title` },
      make("h2", { id: `${service}-title` }, `${api.info.title} ${api.info.version}`), prose(api.info.description));
    const list = make("ul");
    for (const [path, item] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((one) => item[one])) {
        const operation = item[method];
        section.append(operationSection(service, api, path, method, operation));
        list.append(make("li", {}, make("a", { href: `#${service}-${operation.operationId}` },
          make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", {}, path))));
      }
    }
    main.append(section);
    contents.append(make("strong", {}, make("a", { href: `#${service}` }, api.info.title)), list);
  }
  main.append(problemSection(documents[0].api["x-problems"]));
  contents.append(make("strong", {}, make("a", { href: "#problems" }, "Problem types")));
}

async function read(service) {
  const answer = await fetch(`/${service}/openapi.json`);
  if (!answer.ok) throw new Error(`${service} answers ${answer.status}`);
  return { service, api: await answer.json() };
}

async function start() {
  const state = document.getElementById("state");
  const results = await Promise.allSettled(SERVICES.map(read));
  const documents = results.filter((one) => one.status === "fulfilled").map((one) => one.value);
  const missing = SERVICES.filter((service) => !documents.some((one) => one.service === service));
  if (documents.length) show(documents);
  state.textContent = missing.length ? `Not to be read now: ${missing.join(", ")}. Reload the page to try again.` : "";
  if (!missing.length) state.remove();
  document.getElementById("main").setAttribute("aria-busy", "false");
  // The place that the address names is there only now.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

start();
