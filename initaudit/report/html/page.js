"use strict";
// Nothing of a checkpoint is ever read as markup here: text goes in by textContent alone.

const STEP = 100;
const COLUMNS = [
  ["", "tensor", "name"], ["", "kind", "kind"], ["", "dtype", ""], ["", "shape", "shape"],
  ["number", "mean", "number"], ["number", "std", "number"], ["number", "gain", "number"],
  ["", "scheme", "scheme"], ["", "finding", ""],
];
const RANKS = { error: 0, warning: 1, info: 2, "": 3 };
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

function number(value) {
  if (value === null) return "";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(2) : String(value);
}

function tableOf(root) {
  const data = JSON.parse(root.querySelector("script").textContent);
  const [head, body] = [root.querySelector("thead"), root.querySelector("tbody")];
  const [search, only] = root.querySelectorAll("input");
  const [said, more, all] = ["output", "[data-more]", "[data-all]"].map((what) => root.querySelector(what));
  const rows = data.rows.map(([name, kind, dtype, shape, mean, std, gain, scheme, severity, anchors, levels]) => {
    const words = [name, data.kinds[kind], data.dtypes[dtype], shape];
    const cells = [...words, mean, std, gain, data.schemes[scheme], data.severities[severity]];
    return { cells, anchors, levels, text: [...words, cells[7], cells[8]].join(" ").toLowerCase() };
  });
  let [column, rising, shown, found] = [0, true, STEP, rows];

  function compare(a, b) {
    let [x, y] = [a.cells[column], b.cells[column]];
    if (column === 8) [x, y] = [RANKS[x], RANKS[y]];
    if (x === null || y === null) return (x === null) - (y === null); // what has no number comes last, either way
    const order = typeof x === "number" ? x - y : x.localeCompare(y, "en", { numeric: true });
    return rising ? order : -order;
  }

  function draw() {
    body.replaceChildren(...found.slice(0, shown).map((row) => {
      const line = element("tr");
      row.cells.forEach((value, at) => {
        const cell = element("td", at === 8 ? undefined : typeof value === "string" ? value : number(value), COLUMNS[at][2]);
        if (at === 8 && value) {
          const mark = element(row.anchors.length ? "a" : "span", value, `badge ${value}`);
          if (row.anchors.length) mark.href = `#${row.anchors[0]}`;
          cell.append(mark);
        }
        line.append(cell);
      });
      const cell = element("td");
      if (row.levels) cell.append(outline(row.levels));
      line.append(cell);
      return line;
    }));
    const left = found.length - Math.min(shown, found.length);
    said.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} tensors` +
      (left ? `, the first ${shown.toLocaleString("en")} of them shown` : "");
    more.hidden = all.hidden = !left;
    more.textContent = `Show ${Math.min(STEP, left)} more`;
    all.textContent = `Show all ${found.length.toLocaleString("en")}`;
  }

  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = rows.filter((row) => (!only.checked || row.cells[8]) && words.every((word) => row.text.includes(word)));
    found.sort(compare);
    shown = STEP;
    draw();
  }

  const titles = element("tr");
  COLUMNS.forEach(([className, title], at) => {
    const [cell, button] = [element("th", undefined, className), element("button", title)];
    cell.scope = "col";
    button.type = "button";
    button.addEventListener("click", () => {
      rising = at === column ? !rising : true;
      column = at;
      for (const other of titles.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", rising ? "ascending" : "descending");
      find();
    });
    cell.append(button);
    titles.append(cell);
  });
  titles.children[0].setAttribute("aria-sort", "ascending");
  const last = element("th");
  last.scope = "col";
  last.append(element("span", "values"));
  titles.append(last);
  head.append(titles);
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
