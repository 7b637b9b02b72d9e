// The table of trials. Its cells are text, whatever is in them; a heading sorts, a number opens its trial.
(() => {
  const tell = (id, props) => window.dash_clientside.set_props(id, props);

  function made(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function heading({ key, title, style }, order) {
    const chosen = order.key === key;
    const arrow = chosen ? (order.down ? " \u25be" : " \u25b4") : "";
    const button = made("button", { type: "button", className: "sort", id: `sort-${key}` }, title + arrow);
    button.onclick = () => tell("order", { data: { ...order, key, down: chosen && !order.down, page: 0 } });
    const cell = made("th", { className: style, scope: "col" }, button);
    cell.setAttribute("aria-sort", chosen ? (order.down ? "descending" : "ascending") : "none");
    return cell;
  }

  function link(href, text) {
    const anchor = made("a", { href }, text);
    anchor.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window
      event.preventDefault();
      tell("url", { pathname: href });
    };
    return anchor;
  }

  function turn({ order, page, pages, place }) {
    const step = (text, to) => {
      const properties = { type: "button", className: "quiet", disabled: to < 0 || to >= pages };
      const button = made("button", { ...properties, id: `page-${text}` }, text);
      button.onclick = () => tell("order", { data: { ...order, page: to } });
      return button;
    };
    return made("div", { className: "turn" }, step("Earlier", page - 1), made("span", {}, place), step("Later", page + 1));
  }

  function drawn(listing) {
    if (listing.note) return [made("p", { className: "empty" }, listing.note)];
    const { columns, rows, order } = listing;
    const head = made("tr", {}, ...columns.map((column) => heading(column, order)));
    const body = rows.map(({ href, cells }) =>
      made("tr", {}, ...columns.map(({ key, style }, i) => {
        const content = key === "trial_id" ? link(href, cells[i] || "open") : cells[i];
        return made("td", { className: style }, content);
      })),
    );
    const table = made("table", { className: "front" }, made("thead", {}, head), made("tbody", {}, ...body));
    const parts = [made("div", { className: "scroll" }, table)];
    return listing.pages > 1 ? [...parts, turn(listing)] : parts;
  }

  // Whoever works without a mouse goes on where they were, and not at the top of the page.
  function table(listing) {
    const place = document.getElementById("table");
    if (!listing || !place) return window.dash_clientside.no_update;
    const held = place.contains(document.activeElement) ? document.activeElement.id : "";
    place.replaceChildren(...drawn(listing));
    if (held) document.getElementById(held)?.focus();
    return window.dash_clientside.no_update;
  }

  window.dash_clientside = Object.assign({}, window.dash_clientside, { rayduce: { table } });
})();
