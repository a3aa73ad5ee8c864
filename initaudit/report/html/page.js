"use strict";
// Nothing of a checkpoint is ever read as markup here: text goes in by textContent alone.

const STEP = 100;
const RANKS = { error: 0, warning: 1, info: 2, "": null };
const BY_NAME = new Intl.Collator("en", { numeric: true }).compare;

// A column: its title, its class, what it sorts by, and what it shows if that is another thing.
const COLUMNS = [
  ["tensor", "name", (row) => row.name, (row) => breakable(row.name)],
  ["values", "", null, (row) => row.levels && outline(row.levels)],
  ["finding", "", (row) => RANKS[row.severity], badge],
  ["std", "number", (row) => row.std, (row) => number(row.std)],
  ["gain", "number", (row) => row.gain, (row) => number(row.gain)],
  ["mean", "number", (row) => row.mean, (row) => number(row.mean)],
  ["scheme", "scheme", (row) => row.scheme],
  ["kind", "word", (row) => row.kind],
  ["shape", "word", (row) => row.shape, (row) => `${row.shape} ${row.dtype}`],
];
const SVG = "http://www.w3.org/2000/svg";

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function outline(levels) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const width = 98, height = 22;
  svg.setAttribute("width", width); svg.setAttribute("height", height);
  svg.setAttribute("aria-hidden", "true");
  if (levels === "|") path.setAttribute("d", `M${width / 2 - 1},0h2v${height}h-2z`);
  else {
    const step = width / levels.length;
    const tops = Array.from(levels, (level, at) => {
      const top = height - parseInt(level, 36) / 35 * height;
      return `L${(at * step).toFixed(1)},${top.toFixed(1)}h${step.toFixed(1)}`;
    });
    path.setAttribute("d", `M0,${height}${tops.join("")}V${height}z`);
  }
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  return svg;
}

// A long name breaks behind a dot, not within a word.
function breakable(name) {
  const made = document.createDocumentFragment();
  for (const part of name.split(/(?<=[.])/)) made.append(part, element("wbr"));
  return made;
}

function number(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(2) : String(value);
}

function badge({ severity, anchors }) {
  if (!severity) return "";
  const mark = element(anchors.length ? "a" : "span", severity, `badge ${severity}`);
  if (anchors.length) mark.href = `#${anchors[0]}`;
  return mark;
}

function rowsOf({ kinds, dtypes, schemes, severities, rows }) {
  return rows.map(([name, kind, dtype, shape, mean, std, gain, scheme, severity, anchors, levels]) => {
    const words = { name, kind: kinds[kind], dtype: dtypes[dtype], shape, scheme: schemes[scheme], severity: severities[severity] };
    return { ...words, mean, std, gain, anchors, levels, text: Object.values(words).join(" ").toLowerCase() };
  });
}

function lineOf(row) {
  const line = element("tr");
  for (const [, className, of, show] of COLUMNS) {
    const cell = element("td", undefined, className);
    cell.append((show ?? of)(row));
    line.append(cell);
  }
  return line;
}

function inOrder(rows, of, rising) {
  return rows.slice().sort((a, b) => {
    const [x, y] = [of(a), of(b)];
    if (x === null || y === null) return (x === null) - (y === null); // what has no number comes last, either way
    const order = typeof x === "number" ? x - y : BY_NAME(x, y);
    return rising ? order : -order;
  });
}

function tableOf(root) {
  const [search, only] = root.querySelectorAll("input");
  const [said, more, all, body] = ["output", "[data-more]", "[data-all]", "tbody"].map((what) => root.querySelector(what));
  let rows = inOrder(rowsOf(JSON.parse(root.querySelector("script").textContent)), COLUMNS[0][2], true);
  let [shown, found] = [STEP, rows];

  function draw() {
    body.replaceChildren(...found.slice(0, shown).map(lineOf));
    const left = found.length - Math.min(shown, found.length);
    said.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} tensors` +
      (left ? `, the first ${shown.toLocaleString("en")} of them shown` : "");
    more.hidden = all.hidden = !left;
    more.textContent = `Show ${Math.min(STEP, left)} more`;
    all.textContent = `Show all ${found.length.toLocaleString("en")}`;
  }

  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter((row) => (!only.checked || row.severity) && words.every((word) => row.text.includes(word)));
    shown = STEP;
    draw();
  }

  const titles = element("tr");
  for (const [title, className, of] of COLUMNS) {
    const cell = element("th", undefined, className);
    cell.scope = "col";
    cell.append(element(of ? "button" : "span", title));
    titles.append(cell);
    if (!of) continue;
    cell.firstChild.type = "button";
    cell.firstChild.addEventListener("click", () => {
      const rising = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of titles.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", rising ? "ascending" : "descending");
      rows = inOrder(rows, of, rising);
      find();
    });
  }
  titles.firstChild.setAttribute("aria-sort", "ascending");
  root.querySelector("thead").append(titles);
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", find);
  only.addEventListener("change", find);
  more.addEventListener("click", () => { shown += STEP; draw(); });
  all.addEventListener("click", () => { shown = found.length; draw(); });
  find();
}

// Marks are small: what is near enough to the pointer is the one that is meant.
function tipOf(chart, tip) {
  let marks = null;
  const places = () => Array.from(chart.querySelectorAll("[role=graphics-symbol][aria-label]"), (mark) => {
    const box = mark.getBoundingClientRect();
    const from = chart.getBoundingClientRect();
    return [box.x + box.width / 2 - from.x, box.y + box.height / 2 - from.y, mark.getAttribute("aria-label")];
  });
  chart.addEventListener("pointerenter", () => { marks = places(); });
  chart.addEventListener("pointerleave", () => { tip.hidden = true; });
  chart.addEventListener("pointermove", (event) => {
    marks ??= places();
    const from = chart.getBoundingClientRect();
    let [nearest, words] = [20, null];
    for (const [x, y, label] of marks) {
      const distance = Math.hypot(event.clientX - from.x - x, event.clientY - from.y - y);
      if (distance < nearest) [nearest, words] = [distance, label];
    }
    tip.hidden = words === null;
    if (words === null) return;
    tip.textContent = words;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 4))}px`;
    tip.style.top = `${event.clientY + 16 + box.height > innerHeight ? event.clientY - box.height - 8 : event.clientY + 16}px`;
  });
}

document.querySelectorAll("[data-tensors]").forEach(tableOf);
document.querySelectorAll(".lane .chart").forEach((chart) => tipOf(chart, document.getElementById("tip")));
