"use strict";
// Sorts the comparison table and shows its other views. Every number was computed when the page was written.
(() => {
  const table = document.getElementById("board");
  const { views, ghosts, missing, shown } = JSON.parse(document.getElementById("data-board").textContent);
  const stratum = document.getElementById("stratum");
  const seeds = document.getElementById("seeds");
  const ghostly = document.getElementById("ghosts");
  const status = document.getElementById("status");
  const notes = document.getElementById("notes");
  const body = table.tBodies[0];
  const heads = [...table.querySelectorAll("thead [data-direction]")];
  const rows = new Map([...table.querySelectorAll("[data-row]")].map((row) => [Number(row.dataset.row), row]));
  const above = new Map([...table.querySelectorAll("[data-ghost]")].map((row) => [Number(row.dataset.ghost), row]));
  const WORDS = { best: "best", tied: "not shown to differ from the best" };
  const sorting = { column: -1, reversed: false };
  let view = null; // Rows by number: rank, what it sorts by, interval, unranked, cells.
  let order = [];

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.textContent = text;
    return made;
  };

  const note = (number) => {
    const link = element("a", "", number > shown ? "m" : `m${number}`);
    link.href = number > shown ? "#missing" : `#missing-${number}`;
    link.dataset.tip = missing[number - 1];
    const raised = document.createElement("sup");
    raised.append(link);
    return raised;
  };

  const paint = (cell, [mean, , mark, under, low, lacking]) => {
    cell.classList.toggle("best", mark === "best");
    const parts = mark === "tied" ? [element("span", "tied", "≈")] : [];
    parts.push(element("span", "mean", mean));
    if (mark) parts.push(element("span", "visually-hidden", ` (${WORDS[mark]})`));
    if (lacking) parts.push(note(lacking));
    parts.push(...under.map((line) => element("span", "under", line)), ...low.map((line) => element("span", "under low", line)));
    cell.replaceChildren(...parts);
  };

  const fill = (row, line) => {
    row.hidden = !line;
    if (!line) return;
    const [rank, , interval, unranked, cells] = line;
    const [, first, ...others] = row.cells;
    paint(first, [rank, null, "", interval ? [interval] : [], [], 0]);
    others.forEach((cell, at) => paint(cell, cells[at]));
    const badge = row.querySelector("[data-unranked]");
    if (badge) badge.hidden = !unranked;
  };

  const byNumber = (lines) => new Map(lines.map(([number, ...line]) => [number, line]));

  const key = (number) => {
    const [, rank, , , cells] = view.get(number);
    if (sorting.column === 0) return rows.get(number).querySelector(".label").textContent;
    const value = sorting.column === 1 ? rank : cells[sorting.column - 2][1];
    return value === null ? null : Number(value);
  };

  const sorted = () => {
    if (sorting.column < 0) return order;
    const lower = heads[sorting.column].dataset.direction !== "higher";
    const sign = lower === sorting.reversed ? -1 : 1;
    const keys = new Map(order.map((number) => [number, key(number)]));
    return [...order].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === null || b === null) return (a === null) - (b === null); // Rows without a value stay last.
      return sign * (typeof a === "string" ? a.localeCompare(b) : a === b ? 0 : a < b ? -1 : 1);
    });
  };

  const arrange = () => {
    const own = sorted().map((number) => [rows.get(number), above.get(number)]).flat();
    body.append(...own.filter((row) => row && row.parentNode === body));
    heads.forEach((head, at) => {
      const ascending = (head.dataset.direction === "higher") === sorting.reversed;
      if (at === sorting.column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
  };

  const showGhosts = () => {
    const lines = byNumber(ghosts[stratum ? stratum.value : "0"] || []);
    for (const [number, row] of above) {
      fill(row, lines.get(number));
      row.hidden = row.hidden || !ghostly.checked;
    }
  };

  const show = () => {
    const chosen = views[`${stratum ? stratum.value : 0}|${seeds ? seeds.value : Object.keys(views)[0].split("|")[1]}`];
    view = byNumber(chosen.rows);
    order = [...view.keys()];
    for (const [number, row] of rows) fill(row, view.get(number));
    status.textContent = chosen.status;
    notes.replaceChildren(...chosen.notes.map((line) => element("li", "", line)));
    notes.hidden = !chosen.notes.length;
    if (ghostly) showGhosts();
    arrange();
  };

  heads.forEach((head, at) => {
    const label = head.querySelector(".sort");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...label.childNodes);
    label.replaceWith(button);
    button.addEventListener("click", () => {
      sorting.reversed = sorting.column === at && !sorting.reversed;
      sorting.column = at;
      arrange();
    });
  });
  for (const control of [stratum, seeds]) if (control) control.addEventListener("change", show);
  if (ghostly) {
    ghostly.checked = false; // A browser may remember it over a reload.
    ghostly.addEventListener("change", showGhosts);
  }
  show();
})();
