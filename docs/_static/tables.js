// Each cell of a wide table gets its column's heading, which docs.css shows where rows are stacked on a narrow screen.
document.querySelectorAll("table.docutils").forEach((table) => {
  const headings = Array.from(table.querySelectorAll("thead th"), (heading) => heading.textContent.trim());
  if (headings.length < 4) return;
  table.classList.add("wide");
  table.querySelectorAll("tbody tr").forEach((row) =>
    Array.from(row.cells).forEach((cell, place) => {
      cell.setAttribute("data-heading", headings[place] ?? "");
      cell.classList.toggle("empty", !cell.textContent.trim());
    }));
});
