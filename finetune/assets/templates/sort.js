// Puts a button into every heading of a table of class "sortable": first click rising, second falling, third as written.
// Numbers come before words, "undefined" and dashes last. Without this script the page is whole; nothing of the data is in it.
"use strict";
const UNKNOWN = /^(–|undefined|not measured|$)/;
const SECONDS = { h: 3600, min: 60, s: 1 };

function measure(text) {
  const times = [...text.matchAll(/([\d.]+) (h|min|s)\b/g)];
  if (times.length && /^[\d.]+ (h|min|s)\b/.test(text)) {
    return times.reduce((sum, [, count, unit]) => sum + Number(count) * SECONDS[unit], 0);
  }
  const found = text.match(/^(?:[<>] ?)?([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)/);
  return found ? Number(found[1].replaceAll(",", "")) : null;
}

function order(one, other) {
  if (one.isUnknown || other.isUnknown) {
    return 0;
  }
  if (one.number !== null && other.number !== null) {
    return one.number - other.number;
  }
  if (one.number !== null || other.number !== null) {
    return one.number !== null ? -1 : 1;
  }
  return one.text.localeCompare(other.text, "en", { numeric: true });
}

function sort(table, heading, written) {
  const before = heading.getAttribute("aria-sort");
  const direction = { ascending: "descending", descending: null }[before] ?? (before ? null : "ascending");
  for (const other of heading.parentElement.children) {
    other.removeAttribute("aria-sort");
  }
  const sign = direction === "descending" ? -1 : 1;
  const keyed = written.map((row) => {
    const text = row.cells[heading.cellIndex].textContent.trim();
    return { row, text, number: measure(text), isUnknown: UNKNOWN.test(text) };
  });
  if (direction) {
    heading.setAttribute("aria-sort", direction);
    keyed.sort((one, other) => one.isUnknown - other.isUnknown || sign * order(one, other));
  }
  table.tBodies[0].append(...keyed.map((entry) => entry.row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const written = [...table.tBodies[0].rows];
  for (const heading of table.tHead.querySelectorAll("th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(table, heading, written));
  }
}
