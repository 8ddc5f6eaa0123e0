"use strict";
// A context in, its price and what stands behind it out: every change asks POST /curve.
const at = (id) => document.getElementById(id);
const SALE = ["list_price", "unit_cost", "min_price", "max_price", "u", "personal"];
let manifest = null, asked = 0, timer = 0;

function headers() {
  const key = at("key").value;
  return { "Content-Type": "application/json", ...(key ? { "X-API-Key": key } : {}) };
}

async function call(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers() });
  const body = await answer.json();
  if (answer.ok) return body;
  if (answer.status === 401 || answer.status === 403) at("keyline").hidden = false;
  throw new Error((body.field ? body.field + " " : "") + body.detail);
}

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawn(parent, tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

const money = (value) => (value === null ? "?" : value.toFixed(2));
const share = (value) => (value === null ? "?" : (100 * value).toFixed(1) + " %");

function range(field) {
  if (field.name === "u") return [0, 0.999];
  const list = manifest.inputs.find((f) => f.name === "list_price");
  const most = list.high || 100;
  if (["unit_cost", "min_price", "max_price"].includes(field.name)) return [0, most];
  if (field.name === "list_price") return [list.low || 1, most];
  const low = field.low ?? 0;
  return [low, (field.high ?? 10) > low ? field.high ?? 10 : low + 1];
}

function numberField(field) {
  const [low, high] = range(field), id = "f-" + field.name;
  const box = made("input", { id, name: field.name, type: "number", step: "any", placeholder: "not given" });
  const slider = made("input", { type: "range", min: low, max: high, step: "any", className: "unset", ariaLabel: field.name });
  const rounded = (value) => String(Number(Number(value).toPrecision(4)));
  slider.value = (low + high) / 2;
  slider.addEventListener("input", () => { box.value = rounded(slider.value); slider.classList.remove("unset"); soon(); });
  box.addEventListener("input", () => { slider.classList.toggle("unset", box.value === ""); if (box.value !== "") slider.value = box.value; soon(); });
  // nothing is priced without a cost, unless the policy knows its share: then begin with half of the list price
  const costs = field.name === "unit_cost" && manifest.terms.cost_share === null;
  if (costs) {
    const rungs = manifest.terms.ladder, [least, most] = range(manifest.inputs.find((f) => f.name === "list_price"));
    slider.value = (manifest.listed ? (least + most) / 2 : rungs[Math.floor(rungs.length / 2)]) / 2;
  }
  if (costs || field.name === "list_price") { box.value = rounded(slider.value); slider.classList.remove("unset"); }
  return made("div", { className: "field" }, title(field, id), slider, box);
}

function wordField(field) {
  const id = "f-" + field.name, box = made("input", { id, name: field.name, type: "text", placeholder: "not given" });
  const words = made("datalist", { id: id + "-words" }, ...(field.words || []).slice(0, 200).map((w) => made("option", { value: w })));
  box.setAttribute("list", words.id);
  box.addEventListener("input", soon);
  return made("div", { className: "field word" }, title(field, id), box, words);
}

function title(field, id) {
  return made("label", { htmlFor: id }, field.name + " ", made("small", {}, [field.unit, field.personal ? "personal" : ""].filter(Boolean).join(", ")));
}

function build() {
  const form = at("form"), inputs = manifest.inputs.filter((f) => f.name !== "personal" && (manifest.listed || f.name !== "list_price"));
  const group = (name, fields) => {
    if (!fields.length) return;
    form.append(made("h2", {}, name), ...fields.map((f) => (f.kind === "number" ? numberField(f) : wordField(f))));
  };
  group("Terms of sale", inputs.filter((f) => SALE.includes(f.name)));
  const box = made("input", { type: "checkbox", id: "f-personal", checked: true });
  box.addEventListener("input", soon);
  form.append(made("label", {}, box, " personal data may be used"));
  group("Personal", inputs.filter((f) => f.personal));
  group("Not personal", inputs.filter((f) => !f.personal && !SALE.includes(f.name)));
  form.addEventListener("submit", (event) => event.preventDefault());
}

function context() {
  const values = { personal: at("f-personal").checked ? 1 : 0 };
  for (const box of document.querySelectorAll("#form input[name]")) {
    if (box.value !== "") values[box.name] = box.type === "number" ? Number(box.value) : box.value;
  }
  return values;
}

function soon() { clearTimeout(timer); timer = setTimeout(ask, 60); }

async function ask() {
  const mine = ++asked;
  try {
    const told = await call("/curve", { method: "POST", body: JSON.stringify({ context: context() }) });
    if (mine !== asked) return; // a newer question is under way
    at("problem").hidden = true;
    show(told);
    document.body.dataset.answered = mine;
  } catch (error) {
    if (mine !== asked) return;
    at("problem").textContent = error.message;
    at("problem").hidden = false;
  }
}

function show(told) {
  const q = told.quote, price = Number(q.price), list = Number(q.list_price);
  at("price").textContent = `${q.price} ${q.currency}`;
  const change = 100 * (q.multiplier - 1);
  at("against").textContent = manifest.listed ? `list price ${q.list_price}` + (Math.abs(change) < 0.05 ? "" : `, ${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(1)} %`) : "";
  at("why").textContent = q.fallback ? `Not priced (${q.fallback.replaceAll("_", " ")}), so the list price stands.`
    : q.guardrail !== "none" ? `The most profitable price is forbidden by ${q.guardrail.replaceAll("_", " ")}; this is the best that is left.`
    : "The most profitable price that the guardrails leave.";
  const numbers = { "bought with": share(q.purchase_probability), "expected profit": money(q.expected_profit), "price sensitivity": q.price_sensitivity === null ? "?" : q.price_sensitivity.toFixed(2), propensity: q.propensity === null ? "?" : q.propensity.toFixed(3), "unit cost": money(told.unit_cost), personalised: q.personalised ? "yes" : "no" };
  at("numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) => made("div", {}, made("dt", {}, name), made("dd", {}, value))));
  at("disclosure").hidden = q.disclosure === null;
  at("disclosure").textContent = q.disclosure ?? "";
  const prices = [...told.ladder, ...told.demand].map((r) => r.price).concat(price, list);
  const span = [Math.min(...prices), Math.max(...prices)];
  const lines = { chosen: price, list: manifest.listed ? list : null };
  chart(at("demand"), span, told.demand.map((r) => [r.price, r.probability]), told.ladder.map((r) => ({ ...r, y: r.probability })), lines, share);
  chart(at("profit"), span, told.ladder.filter((r) => r.profit !== null).map((r) => [r.price, r.profit]), told.ladder.map((r) => ({ ...r, y: r.profit })), lines, money);
  at("rungs").tBodies[0].replaceChildren(...told.ladder.map((r) => {
    const row = made("tr", { className: same(r.price, price) ? "chosen" : r.forbidden_by.length ? "out" : "" });
    const cells = [money(r.price), r.multiplier.toFixed(2), share(r.probability), money(r.profit), share(r.propensity), r.forbidden_by.join(", ").replaceAll("_", " ")];
    row.append(...cells.map((text) => made("td", {}, text)));
    return row;
  }));
  const rails = Object.entries(told.guardrails).filter(([, v]) => v !== null && v !== 0 && !(Array.isArray(v) && !v.length));
  at("rails").textContent = "Guardrails: " + (rails.map(([n, v]) => `${n.replaceAll("_", " ")} ${v}`).join(", ") || "none") + ".";
}

const same = (one, other) => Math.abs(one - other) < 0.005;

function chart(svg, [low, high], line, rungs, lines, told) {
  const width = svg.clientWidth || 600, height = 220, left = 48, right = 12, top = 18, bottom = 24;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const ys = [...line.map((p) => p[1]), ...rungs.map((r) => r.y)].filter((y) => y !== null);
  if (!ys.length) { drawn(svg, "text", { x: left, y: height / 2 }, "unknown: there is no unit cost"); return; }
  let least = Math.min(0, ...ys), most = Math.max(...ys);
  if (most === least) most = least + 1;
  const x = (p) => left + ((p - low) / (high - low || 1)) * (width - left - right);
  const y = (v) => top + ((most - v) / (most - least)) * (height - top - bottom);
  for (let i = 0; i <= 4; i++) {
    const v = least + (i / 4) * (most - least);
    drawn(svg, "line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) });
    drawn(svg, "text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, told(v));
    const p = low + (i / 4) * (high - low);
    drawn(svg, "text", { x: x(p), y: height - 6, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, money(p));
  }
  if (lines.list !== null) drawn(svg, "line", { class: "listline", x1: x(lines.list), x2: x(lines.list), y1: top, y2: height - bottom });
  drawn(svg, "polyline", { class: "curve", points: line.map((p) => `${x(p[0])},${y(p[1])}`).join(" ") });
  drawn(svg, "line", { class: "chosenline", x1: x(lines.chosen), x2: x(lines.chosen), y1: top, y2: height - bottom });
  const end = x(lines.chosen) > width / 2;
  drawn(svg, "text", { class: "chosentext", x: x(lines.chosen) + (end ? -6 : 6), y: top - 5, "text-anchor": end ? "end" : "start" }, money(lines.chosen));
  for (const r of rungs) {
    if (r.y === null) continue;
    const kind = same(r.price, lines.chosen) ? "chosen" : r.forbidden_by.length ? "out" : "rung";
    const dot = drawn(svg, "circle", { class: kind, cx: x(r.price), cy: y(r.y), r: kind === "chosen" ? 6 : 4 });
    drawn(dot, "title", {}, `${money(r.price)}: bought ${share(r.probability)}, profit ${money(r.profit)}` + (r.forbidden_by.length ? `, forbidden by ${r.forbidden_by.join(", ")}` : ""));
  }
}

async function begin() {
  try {
    manifest = await call("/policy");
    at("problem").hidden = true;
    at("policy").textContent = `${manifest.name}${manifest.version ? " version " + manifest.version : ""}, ${manifest.graph_sha256.slice(0, 12)}`;
    at("form").replaceChildren();
    build();
    await ask();
  } catch (error) {
    at("problem").textContent = error.message;
    at("problem").hidden = false;
  }
}

at("key").addEventListener("change", begin);
at("keyline").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => { if (manifest) soon(); });
begin();
