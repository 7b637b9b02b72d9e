// The table of trials. Its cells are text, whatever is in them; a heading sorts, a number opens its trial.
(() => {
  const tell = (id, props) => window.dash_clientside.set_props(id, props);

  // What is wanted, and not what it comes to: the order on show may be about to change already.
  const press = (wanted) => tell("pressed", { data: { ...wanted, at: performance.now() } });

  function made(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function heading({ key, title, style }, order) {
    const chosen = order.key === key;
    const arrow = chosen ? (order.down ? " \u25be" : " \u25b4") : "";
    const button = made("button", { type: "button", className: "sort", id: `sort-${key}` }, title + arrow);
    button.onclick = () => press({ key });
    const cell = made("th", { className: style, scope: "col" }, button);
    cell.setAttribute("aria-sort", chosen ? (order.down ? "descending" : "ascending") : "none");
    return cell;
  }

  function link(href, text) {
    const anchor = made("a", { href }, text);
    anchor.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // a new tab, or a download
      event.preventDefault();
      tell("url", { pathname: href });
    };
    return anchor;
  }

  // Two students can be ticked, on different pages of the table too; a third takes the place of the first.
  let ticked = [];
  function tick(run, name) {
    const box = made("input", { type: "checkbox", checked: ticked.includes(run), id: `tick-${run}` });
    box.setAttribute("aria-label", `Compare trial ${name}`);
    box.onchange = () => {
      ticked = box.checked ? [...ticked, run].slice(-2) : ticked.filter((each) => each !== run);
      document.querySelectorAll("#table td.tick input").forEach((each) => {
        each.checked = ticked.includes(each.id.slice(5));
      });
      tell("ticked", { data: ticked });
    };
    return made("td", { className: "tick" }, box);
  }

  // The address of the page that compares those that are ticked.
  function both(runs) {
    const ready = runs?.length === 2;
    const words = ready ? "Compare the two ticked" : "Tick two to compare them";
    return [ready ? `/pair?left=${runs[0]}&right=${runs[1]}` : "/pair", words, ready ? "button" : "button idle"];
  }

  function turn({ page, pages, place }) {
    const button = (text, step) => {
      const disabled = page + step < 0 || page + step >= pages;
      const element = made("button", { type: "button", className: "quiet", disabled, id: `page-${text}` }, text);
      element.onclick = () => press({ step, pages });
      return element;
    };
    return made("div", { className: "turn" }, button("Earlier", -1), made("span", {}, place), button("Later", 1));
  }

  function drawn(listing) {
    if (listing.note) return [made("p", { className: "empty" }, listing.note)];
    const { columns, rows, order } = listing;
    const corner = made("th", { scope: "col", className: "tick" }, made("span", { className: "unseen" }, "Compare"));
    const head = made("tr", {}, corner, ...columns.map((column) => heading(column, order)));
    const body = rows.map(({ href, cells, style: row, run }) =>
      made("tr", { className: row }, tick(run, cells[0]), ...columns.map(({ key, style }, i) => {
        const content = key === "trial_id" ? link(href, cells[i] || "open") : cells[i];
        return made("td", { className: style }, content);
      })),
    );
    const table = made("table", { className: "front" }, made("thead", {}, head), made("tbody", {}, ...body));
    const parts = [made("div", { className: "scroll", tabIndex: 0 }, table)];
    if (listing.foot) parts.push(made("p", { className: "caption" }, listing.foot));
    return listing.pages > 1 ? [...parts, turn(listing)] : parts;
  }

  // Whoever works without a mouse goes on where they were, and not at the top of the page.
  let shown = "";
  function table(listing) {
    const place = document.getElementById("table");
    if (!listing || !place) return window.dash_clientside.no_update;
    const text = JSON.stringify(listing);
    if (place.hasChildNodes() && shown === text) return window.dash_clientside.no_update;
    shown = text;
    const held = place.contains(document.activeElement) ? document.activeElement : null;
    const left = place.querySelector(".scroll")?.scrollLeft ?? 0;
    place.replaceChildren(...drawn(listing));
    place.querySelector(".scroll")?.scrollTo({ left });
    const address = held?.getAttribute("href");
    if (held) place.querySelector(address ? `a[href="${CSS.escape(address)}"]` : `#${CSS.escape(held.id)}`)?.focus();
    return window.dash_clientside.no_update;
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { rayduce: { table, both } });
})();
