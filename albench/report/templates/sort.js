"use strict";
// A column head becomes a button that sorts its table: upwards, downwards, and back to the order in print. Where cells
// hold numbers (data-value) they are compared; what is missing comes last either way.
const next = { ascending: "descending", descending: null };
const words = new Intl.Collator("en", { numeric: true });
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  table.caption.append(" (the heads of its columns are buttons that sort it)");
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.hasAttribute("aria-sort") ? next[head.getAttribute("aria-sort")] : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order) head.setAttribute("aria-sort", order);
      body.append(...(order ? sorted(rows, column, order === "ascending" ? 1 : -1) : rows));
    });
  });
}
function sorted(rows, column, sign) {
  const cells = rows.map(row => row.cells[column]);
  const numeric = cells.some(cell => cell.dataset.value !== undefined);
  const keys = cells.map(cell => {
    if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "" || text === "–" ? null : text;
  });
  const compare = numeric ? (a, b) => (a < b ? -1 : a > b ? 1 : 0) : words.compare;
  const places = rows.map((_, place) => place).sort((a, b) => {
    if (keys[a] === null || keys[b] === null) return (keys[a] === null) - (keys[b] === null);
    return sign * compare(keys[a], keys[b]);
  });
  return places.map(place => rows[place]);
}
