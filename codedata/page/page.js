// Filter and sort the items of a page. Each item is a <tbody>: a row of cells, and a row with its details.
const table = document.querySelector(".rows");
if (table) {
  const items = [...table.tBodies], [text, kind] = ["text", "kind"].map(id => document.getElementById(id));
  const texts = items.map(item => `${item.rows[0].textContent} ${item.querySelector("summary").textContent}`.toLowerCase());
  const cell = (item, at) => item.rows[0].cells[at].textContent;
  const collator = new Intl.Collator("en", { numeric: true });

  const choose = () => {
    const words = text.value.toLowerCase().split(/\s+/);
    let n = 0;
    items.forEach((item, i) => {
      item.hidden = !(words.every(word => texts[i].includes(word)) && ["", cell(item, 1)].includes(kind.value));
      n += !item.hidden;
    });
    document.getElementById("count").textContent = `${n} of ${items.length}`;
  };
  text.addEventListener("input", choose);
  kind.addEventListener("change", choose);
  choose();   // a browser keeps what was typed when it loads the page again

  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => head.firstChild.addEventListener("click", () => {
    const sign = head.ariaSort === "ascending" ? -1 : 1;
    heads.forEach(other => { other.ariaSort = null; });
    head.ariaSort = sign > 0 ? "ascending" : "descending";
    const compare = (a, b) => isNaN(a) || isNaN(b) ? collator.compare(a, b) : a - b;
    const missing = item => cell(item, at) === "";   // last, either way
    table.append(...[...items].sort((a, b) => missing(a) - missing(b) || sign * compare(cell(a, at), cell(b, at))));
  }));
}
