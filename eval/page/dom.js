// Elements, numbers, choices and the tooltip, for all sections.

const SVG = document.querySelector("svg").namespaceURI;
const DASH = "\u2013";

const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Names come from users: kept apart from the text around them, whatever their direction.
const named = (text) => el("bdi", { class: "name" }, String(text));

function number(value, digits) {
  if (value === null || value === undefined) return DASH;
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

function short(value) {
  if (value === null || value === undefined) return DASH;
  if (value === 0) return "0";
  return String(Number(value.toPrecision(3))).replace("-", "\u2212").replace("e+", "e");
}

const percent = (share, digits = 1) => (share === null || share === undefined ? DASH : number(100 * share, digits) + "\u00a0%");
const grouped = (value) => (value === null || value === undefined ? DASH : value.toLocaleString("en-US").replaceAll(",", "\u202f"));
const arrow = (metric) => ({ higher: "\u2191", lower: "\u2193" })[metric.better] || "";

// "dB", "MOS": a unit without the range, which is for the definitions.
const unitOf = (metric) => ((unit) => (/\d/.test(unit) ? "" : unit))((metric.unit || "").split(",")[0]);
const plainUnit = (metric) => (unitOf(metric) && unitOf(metric) === metric.unit ? ` (${metric.unit})` : "");
const better = (metric) => ({ higher: "higher is better", lower: "lower is better" })[metric.better] || "neither way is better";
const groupTitle = (group) => ({ mos: "Learned MOS" })[group] || title(group);
const title = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// A labelled <select>; options are [value, text] or, in groups, {group, options}.
function choice(label, options, value, change) {
  const option = ([key, text]) => el("option", { value: key, selected: String(key) === String(value) }, text);
  const items = options.map((o) => (o.group ? el("optgroup", { label: o.group }, o.options.map(option)) : option(o)));
  const select = el("select", { onchange: () => change(select.value) }, items);
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

function metricOptions(metrics) {
  const groups = [...new Set(metrics.map((m) => m.group))];
  const of = (group) => metrics.filter((m) => m.group === group).map((m) => [m.name, `${m.label}${plainUnit(m)} ${arrow(m)}`.trim()]);
  return groups.map((group) => ({ group: groupTitle(group), options: of(group) }));
}

// A table of few rows, whose first column is its head; columns are [title, value of a row, tip].
function smallTable(caption, rows, columns) {
  const head = columns.map(([text, , tip]) => el("th", { scope: "col", "data-tip": tip }, text));
  const cell = (row, [, value], i) => el(i ? "td" : "th", i ? {} : { scope: "row" }, value(row));
  const body = rows.map((row) => el("tr", {}, columns.map((column, i) => cell(row, column, i))));
  const table = el("table", { class: "small" }, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
  return scroller(table, caption);
}

const scroller = (table, label) => el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": label }, table);

function showTip(text, x, y) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(x - box.width / 2, document.documentElement.clientWidth - box.width - 6))}px`;
  tip.style.top = `${y - box.height - 10 < 4 ? y + 16 : y - box.height - 10}px`;
}

const hideTip = () => { byId("tip").hidden = true; };

function tipOf(event) {
  const target = event.target.closest && event.target.closest("[data-tip]");
  if (!target) return hideTip();
  const box = target.getBoundingClientRect();
  return showTip(target.dataset.tip, box.left + box.width / 2, box.top);
}

for (const kind of ["pointerover", "focusin", "click"]) document.addEventListener(kind, tipOf);
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, { capture: true, passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
