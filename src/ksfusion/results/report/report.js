"use strict";
// Tables are sorted by a click, or Enter, on the head of a column.
const valueOf = (row, column) => {
  const text = row.cells[column].firstChild ? row.cells[column].firstChild.textContent.trim() : "";
  const number = parseFloat(text.replace("\u2212", "-"));
  return Number.isNaN(number) ? text : number;
};
const isMissing = (value) => value === "" || value === "\u2013";
const compare = (first, second) =>
  typeof first === "number" && typeof second === "number" ? first - second : String(first).localeCompare(String(second));
const sortBy = (table, head, column) => {
  const numeric = Array.from(table.tBodies[0].rows).some((row) => typeof valueOf(row, column) === "number");
  const before = head.getAttribute("aria-sort");
  const order = before === "none" ? (numeric ? "descending" : "ascending") : before === "descending" ? "ascending" : "descending";
  const rows = Array.from(table.tBodies[0].rows).map((row) => [valueOf(row, column), row]);
  const sign = order === "ascending" ? 1 : -1;
  rows.sort(([a], [b]) => (isMissing(a) || isMissing(b) ? isMissing(a) - isMissing(b) : sign * compare(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", order);
};
// The heads of the columns, each with its number.
const columnsOf = (table) => {
  // Cells that reach to the body stand above a column each; a group of columns above several.
  let column = 0;
  const columns = [];
  Array.from(table.tHead.rows[0].cells).forEach((head) => {
    if (head.colSpan === 1 && head.rowSpan === table.tHead.rows.length) columns.push([head, column]);
    column += head.colSpan;
  });
  if (table.tHead.rows.length > 1) {
    const first = columns.length;
    Array.from(table.tHead.rows[1].cells).forEach((head, number) => columns.push([head, first + number]));
  }
  return columns;
};
document.querySelectorAll("table").forEach((table) => {
  if (!table.tHead || !table.tBodies[0] || table.tBodies[0].rows.length < 2) return;
  columnsOf(table).forEach(([head, number]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, head, number));
  });
});
// What a cell tells a mouse by its title stands below the table, for the keyboard and for a finger: one stop of the
// tabulator for each table, arrow keys from cell to cell.
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
document.querySelectorAll("table.results").forEach((table) => {
  const cells = Array.from(table.querySelectorAll("td[title]"));
  if (!cells.length) return;
  const names = new Map(columnsOf(table).map(([head, number]) => [number, [head.textContent.trim()]]));
  let column = 0;
  Array.from(table.tHead.rows[0].cells).forEach((head) => {
    for (let number = column; number < column + head.colSpan; number += 1)
      if (head.className === "group") names.get(number).unshift(head.textContent.trim());
    column += head.colSpan;
  });
  const line = document.createElement("p");
  line.className = "about";
  line.setAttribute("role", "status");
  line.textContent = "Number and interval of a cell: tap it, or reach it with the keyboard (Tab, then arrows).";
  table.closest(".scroll").after(line);
  const choose = (cell) => {
    cells.forEach((other) => (other.tabIndex = other === cell ? 0 : -1));
    const name = cell.parentNode.cells[0].firstChild.textContent.trim();
    line.textContent = `${[name, ...names.get(cell.cellIndex)].join(", ")}: ${cell.title}`;
  };
  cells.forEach((cell, number) => (cell.tabIndex = number ? -1 : 0));
  ["focusin", "click"].forEach((happens) =>
    table.addEventListener(happens, (event) => {
      const cell = event.target.closest("td[title]");
      if (cell) choose(cell);
    }),
  );
  table.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td[title]");
    const move = cell && MOVES[event.key];
    if (!move) return;
    event.preventDefault();
    let [row, column] = [cell.parentNode.sectionRowIndex, cell.cellIndex];
    let next;
    // Cells that tell nothing are passed over.
    do {
      row += move[0];
      column += move[1];
      next = table.tBodies[0].rows[row]?.cells[column];
    } while (next && !next.title);
    if (next) next.focus();
  });
});
// The menu says where the reader is.
const links = new Map(Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(
  (entries) => {
    const entry = entries.find((found) => found.isIntersecting);
    if (!entry) return;
    links.forEach((link) => link.removeAttribute("aria-current"));
    links.get(entry.target.id).setAttribute("aria-current", "true");
  },
  { rootMargin: "0px 0px -75% 0px" },
);
links.forEach((_, id) => seen.observe(document.getElementById(id)));
// On paper nothing is folded away.
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
