// Small pieces that every view uses. Text is set as text: nothing that the node sends becomes markup.

export const byId = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function fillRows(tableId, rows, emptyText, columns) {
  const body = byId(tableId).tBodies[0];
  if (!rows.length) {
    body.replaceChildren(element("tr", {}, element("td", { className: "empty", colSpan: columns }, emptyText)));
    return;
  }
  body.replaceChildren(...rows.map((cells) => element("tr", {}, ...cells.map(cellOf))));
}

// The first cell of a row names it; a number is { n: text }.
function cellOf(cell, place) {
  if (cell instanceof Node) return element("td", {}, cell);
  const isNumber = cell !== null && typeof cell === "object";
  const text = isNumber ? cell.n : String(cell);
  if (place === 0) return element("th", { scope: "row", title: text }, text);
  return element("td", { className: isNumber ? "n" : "" }, text);
}

export function fillList(listId, facts) {
  byId(listId).replaceChildren(
    ...facts.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(value)))),
  );
}

export function pill(text, tone) {
  return element("span", { className: "pill", "data-tone": tone }, text);
}
