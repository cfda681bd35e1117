(() => {
  "use strict";
  const $ = id => document.getElementById(id);
  const list = $("cards"), q = $("q"), show = $("show"), sort = $("sort"), dir = $("dir");
  document.documentElement.classList.add("js");

  const cards = [...list.children].map(el => ({
    el,
    rank: Number(el.dataset.rank),
    id: el.dataset.id,
    scores: el.dataset.s.split(",").map(s => s === "" ? NaN : Number(s)),
    matches: el.dataset.m,
    objective: el.dataset.o,
    words: (el.textContent + " " + el.dataset.id).toLowerCase(),
    box: el.querySelector("input"),
  }));
  let reversed = false;

  const marked = () => cards.filter(c => c.box.checked);

  // wanted tells whether a card passes the menu: m3 matches function 3, oX was
  // picked by X, y is marked.
  const wanted = c => {
    const v = show.value;
    if (v === "") return true;
    if (v === "y") return c.box.checked;
    if (v[0] === "m") return c.matches[Number(v.slice(1))] === "1";
    return c.objective === v.slice(1);
  };

  // order compares two cards; cards without a score come last in either direction.
  const order = (a, b) => {
    const key = sort.value, sign = reversed ? -1 : 1;
    if (key === "rank") return sign * (a.rank - b.rank);
    if (key === "id") return sign * (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
    const x = a.scores[key], y = b.scores[key];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || a.rank - b.rank;
    return sign * (y - x) || a.rank - b.rank;
  };

  const filter = () => {
    const words = q.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const c of cards) {
      const fits = wanted(c) && words.every(w => c.words.includes(w));
      c.el.hidden = !fits;
      if (fits) n++;
    }
    $("count").textContent = n === cards.length ? n + " rows" : n + " of " + cards.length;
    $("nothing").hidden = n > 0 || cards.length === 0;
  };

  const arrange = () => list.append(...cards.slice().sort(order).map(c => c.el));

  const marks = () => {
    const n = marked().length;
    $("marks").hidden = n === 0;
    $("marked").textContent = n + " marked";
    $("copy").textContent = "Copy ids";
    if (show.value === "y") filter();
  };

  const copy = async text => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Pages from disk may not use the clipboard: the old way works there.
      const t = document.createElement("textarea");
      t.value = text;
      document.body.append(t);
      t.select();
      const ok = document.execCommand("copy");
      t.remove();
      return ok;
    }
  };

  q.addEventListener("input", filter);
  show.addEventListener("change", filter);
  sort.addEventListener("change", arrange);
  dir.addEventListener("click", () => {
    reversed = !reversed;
    dir.setAttribute("aria-pressed", reversed);
    arrange();
  });
  list.addEventListener("change", marks);
  $("reset").addEventListener("click", () => {
    q.value = "";
    show.value = "";
    filter();
    q.focus();
  });
  $("clear").addEventListener("click", () => {
    for (const c of cards) c.box.checked = false;
    marks();
    $("grid").focus();
  });
  $("copy").addEventListener("click", async () => {
    const ok = await copy(marked().map(c => c.id).join("\n"));
    $("copy").textContent = ok ? "Copied" : "Not copied";
  });
  document.addEventListener("keydown", e => {
    if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) {
      e.preventDefault();
      q.focus();
    } else if (e.key === "Escape" && e.target === q) {
      q.value = "";
      filter();
    }
  });
  filter();
  marks();
})();
